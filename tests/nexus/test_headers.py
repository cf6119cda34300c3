"""What every page says to browsers, whoever asks and whatever the answer is."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

pytestmark = [pytest.mark.django_db, pytest.mark.once]
PATHS = [
    "/",
    "/admin/",
    "/admin/accounts/clientkey/",
    "/admin/login/",
    "/api/docs",
    "/api/requests",
    "/client-setup/",
    "/dashboard/",
    "/dashboard/login",
    "/metrics",
    "/nowhere",
    "/static/dashboard/dashboard.css",
    "/token-stats",
]
PERSONAL = ["/admin/", "/admin/accounts/clientkey/", "/api/requests", "/dashboard/", "/metrics", "/token-stats"]


@pytest.mark.parametrize("is_signed_in", [True, False])
@pytest.mark.parametrize("path", PATHS)
def test_browsers_are_told_to_be_careful(admin_user: User, client: Client, path: str, is_signed_in: bool) -> None:
    if is_signed_in:
        client.force_login(admin_user)
    answer = client.get(path, secure=True)
    headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Strict-Transport-Security"] == "max-age=2592000"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not {"Server", "X-Powered-By", "Access-Control-Allow-Origin"} & set(headers)
    for cookie in answer.cookies.values():
        assert cookie["secure"]
        assert cookie["samesite"] == "Lax"
    answer.close()
    if is_signed_in and path in PERSONAL:
        assert answer.status_code == 200
        assert "no-store" in headers["Cache-Control"]


def test_the_session_is_not_for_scripts(admin_user: User, client: Client) -> None:
    admin_user.set_password("a-fake-password")
    admin_user.save()
    client.post("/admin/login/", {"username": admin_user.username, "password": "a-fake-password"}, secure=True)
    session = client.cookies["sessionid"]
    assert (session["httponly"], session["secure"], session["samesite"]) == (True, True, "Lax")


def test_over_http_nobody_is_told_of_https(client: Client) -> None:
    """A browser would hold it against a laptop's other servers."""
    assert "Strict-Transport-Security" not in client.get("/admin/login/").headers
