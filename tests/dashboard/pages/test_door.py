"""The door of all pages: who comes in, what a wrong address is told, and what headers guard a page."""

import hashlib
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client

from accounts.models import Domain, Membership
from dashboard.pages.door import PAGES

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[3]
PATHS = ["/dashboard/", "/dashboard/start", *(f"/dashboard/{name}" for name, _ in PAGES if name != "overview")]


@pytest.mark.parametrize("path", PATHS)
def test_a_stranger_is_sent_to_sign_in(path: str) -> None:
    answer = Client().get(f"{path}?range=7d")
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"/dashboard/login?next={path.replace('/', '%2F')}%3Frange%3D7d"
    part = Client().get(path, headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["HX-Redirect"], part.content) == (401, "/dashboard/login", b"")


@pytest.mark.parametrize("path", PATHS)
def test_a_page_works_on_an_empty_database_and_is_kept_by_nobody(admin: Client, path: str) -> None:
    answer = admin.get(path)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy + ";"
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("path", PATHS)
def test_no_page_has_what_the_policy_forbids(admin: Client, path: str) -> None:
    page = admin.get(path).content.decode()
    assert " style=" not in page
    assert "<style" not in page
    assert " onclick=" not in page
    for script in page.split("<script")[1:]:
        assert 'src="/static/' in script.split(">")[0] or 'type="application/json"' in script.split(">")[0]


def test_the_admin_alone_may_evaluate(admin: Client) -> None:
    assert "'unsafe-eval'" in admin.get("/admin/").headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("range=2y", "There is no range"),
        ("since=yesterday", "write a time as ISO 8601"),
        ("since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "has to be earlier"),
        ("domain=" + "x" * 301, "domain: "),
        ("domain=%00", "NUL"),
    ],
)
def test_a_wrong_address_is_told_in_a_sentence(admin: Client, query: str, sentence: str) -> None:
    answer = admin.get(f"/dashboard/?{query}")
    assert answer.status_code == 400
    assert sentence in answer.content.decode()
    assert "Back to the overview" in answer.content.decode()


def test_only_its_reading_is_offered(admin: Client) -> None:
    assert admin.post("/dashboard/").status_code == 405


def test_who_sees_some_domains_may_choose_among_them() -> None:
    ada = User.objects.create_user("ada", is_staff=True)
    Membership.objects.create(user=ada, domain=Domain.objects.create(host="a.example.com"))
    Domain.objects.create(host="b.example.com")
    Membership.objects.create(user=ada, domain=Domain.objects.create(host="c.example.com"))
    client = Client()
    client.force_login(ada)
    page = client.get("/dashboard/").content.decode()
    assert "a.example.com" in page
    assert "b.example.com" not in page
    part = {"HX-Request": "true"}
    other, nowhere = (
        client.get(f"/dashboard/?domain={host}", headers=part).content.decode().replace(host, "x")
        for host in ("b.example.com", "nowhere.test")
    )
    assert other == nowhere


def test_what_is_vendored_is_what_was_taken() -> None:
    folder = ROOT / "static" / "vendor"
    sums = dict(line.split()[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.js")} == sums
    assert {path.name.partition("-")[0] for path in folder.glob("*.js")} <= {
        path.name.partition(".")[0] for path in folder.glob("*.LICENSE")
    } | {"idiomorph"}
