"""Signing in, from the admin and from a terminal, at a real OAuth server."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from pytest_django import Settings

from accounts.models import Credential, CredentialStanding, Domain, OAuthToken
from accounts.oauth import login
from accounts.oauth.conf import OAuthConf
from accounts.oauth.login import CannotSignIn
from accounts.oauth.refreshing import refresh
from bench.standin import serve_in_thread
from tests.e2e.pools import ask
from tests.oauthserver import CLIENT_ID, OAuthServer, Trouble, oauth_server
from tests.served import eventually, serve
from tests.services import free_port

pytestmark = pytest.mark.django_db
ADMIN = "/admin/accounts/credential/"


@pytest.fixture
def server(settings: Settings) -> Iterator[OAuthServer]:
    with oauth_server() as served:
        settings.OAUTH = OAuthConf(
            token_url=f"{served.url}/token",
            authorize_url=f"{served.url}/authorize",
            client_id=CLIENT_ID,
            scopes=("user:inference",),
        )
        yield served


@pytest.fixture
def credential(domain: Domain) -> Credential:
    return Credential.objects.create(domain=domain, name="main", owner="Grace", kind="oauth")


def begin(client: Client, credential: Credential) -> str:
    """Where the browser is sent."""
    answer = client.post(f"{ADMIN}{credential.id}/sign-in/")
    assert answer.status_code == 302
    return str(answer.headers["location"])


def agree(url: str) -> str:
    """The callback, as the server asks for it."""
    parts = urlsplit(httpx.get(url).headers["location"])
    return f"{parts.path}?{parts.query}"


def told(client: Client, path: str) -> str:
    return client.get(path, follow=True).content.decode()


def test_a_person_signs_in_from_the_admin(admin_client: Client, credential: Credential, server: OAuthServer) -> None:
    CredentialStanding.objects.create(credential=credential, invalid_since=credential.created_at)
    url = begin(admin_client, credential)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert asked["client_id"] == CLIENT_ID
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert asked["scope"] == "user:inference"
    assert asked["redirect_uri"] == "http://testserver/admin/accounts/credential/signed-in/callback/"
    assert "Signed in" in told(admin_client, agree(url))
    token = OAuthToken.objects.get()
    assert (token.credential_id, token.version, token.scopes) == (credential.id, 1, "user:inference")
    assert token.refresh_token in server.tokens
    assert CredentialStanding.objects.get().invalid_since is None
    assert refresh(credential.id, stale_version=1).version == 2
    page = told(admin_client, f"{ADMIN}{credential.id}/change/")
    assert "Sign in again" in page
    for secret in (token.access_token, token.refresh_token, OAuthToken.objects.get().access_token):
        assert secret
        assert secret not in page


def test_an_answer_is_good_once_and_in_the_session_that_asked(
    admin_client: Client, credential: Credential, server: OAuthServer
) -> None:
    callback = agree(begin(admin_client, credential))
    other = Client()
    other.force_login(get_user_model().objects.get())
    assert "not begun here" in told(other, callback)
    assert "Signed in" in told(admin_client, callback)
    assert "not begun here" in told(admin_client, callback)


def test_a_state_that_is_not_ours_is_refused(admin_client: Client, credential: Credential, server: OAuthServer) -> None:
    path, _, query = agree(begin(admin_client, credential)).partition("?")
    forged = {name: values[0] for name, values in parse_qs(query).items()} | {"state": "forged"}
    assert "not begun here" in told(admin_client, f"{path}?{urlencode(forged)}")
    assert "not begun here" in told(admin_client, path)
    assert not OAuthToken.objects.exists()


def test_one_that_took_too_long_is_refused(
    admin_client: Client, credential: Credential, server: OAuthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = agree(begin(admin_client, credential))
    monkeypatch.setattr(login, "SECONDS", -1)
    assert "too long ago" in told(admin_client, callback)


def test_a_refusal_and_a_failing_endpoint_are_told(
    admin_client: Client, credential: Credential, server: OAuthServer
) -> None:
    path, _, query = agree(begin(admin_client, credential)).partition("?")
    state = parse_qs(query)["state"][0]
    page = told(admin_client, f"{path}?{urlencode({'error': 'access_denied', 'state': state})}")
    assert "Somebody said no." in page
    server.troubles.append(Trouble(500))
    assert "answered 500" in told(admin_client, agree(begin(admin_client, credential)))
    assert not OAuthToken.objects.filter(access_token__isnull=False).exists()


def test_a_code_without_its_verifier_is_worth_nothing(credential: Credential, server: OAuthServer) -> None:
    from django.conf import settings

    redirect_url = "http://localhost:54545/callback"
    begun = login.begin(settings.OAUTH, redirect_url)
    code = login.code_of(urlsplit(httpx.get(begun.url).headers["location"]).query, begun.state)
    other = login.begin(settings.OAUTH, redirect_url)
    with pytest.raises(CannotSignIn, match="answered 400"):
        login.finish(settings.OAUTH, credential, code, other, redirect_url)


def test_without_a_client_it_says_what_is_missing(
    admin_client: Client, credential: Credential, settings: Settings
) -> None:
    settings.OAUTH = OAuthConf(token_url="http://127.0.0.1:9/token")
    answer = admin_client.post(f"{ADMIN}{credential.id}/sign-in/", follow=True)
    assert "CLAUDE_OAUTH_CLIENT_ID and CLAUDE_OAUTH_AUTHORIZE_URL are not set" in answer.content.decode()


def test_who_may_only_look_does_not_sign_in(client: Client, credential: Credential, server: OAuthServer) -> None:
    viewer = get_user_model().objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(*Permission.objects.filter(codename__in=("view_credential", "all_domains")))
    client.force_login(viewer)
    assert client.post(f"{ADMIN}{credential.id}/sign-in/").status_code == 403
    assert client.get(f"{ADMIN}{credential.id}/sign-in/").status_code == 405


@pytest.mark.parametrize(
    ("pasted", "is_good"),
    [
        ("https://x.example/callback?code=abc&state=S", True),
        ("abc#S", True),
        ("abc#T", False),
        ("abc", False),
        ("", False),
        ("https://x.example/callback?state=S", False),
    ],
)
def test_what_somebody_pastes(pasted: str, is_good: bool) -> None:
    if is_good:
        assert login.code_in(pasted, "S") == "abc"
    else:
        with pytest.raises(CannotSignIn):
            login.code_in(pasted, "S")


@pytest.mark.e2e
def test_a_person_signs_in_from_a_terminal(tmp_path: Path) -> None:
    with oauth_server() as server, serve_in_thread() as standin:
        variables = {
            "CLAUDE_OAUTH_TOKEN_URL": f"{server.url}/token",
            "CLAUDE_OAUTH_AUTHORIZE_URL": f"{server.url}/authorize",
            "CLAUDE_OAUTH_CLIENT_ID": CLIENT_ID,
        }
        with serve(tmp_path, standin.url, **variables) as nexus:  # type: ignore[arg-type]
            port = free_port()
            command = [sys.executable, "-m", "nexus", "login", "--domain", "localhost", "--owner", "Grace"]
            command += ["--port", str(port), "--no-browser"]
            with subprocess.Popen(
                command, env=nexus.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process:
                assert process.stderr is not None
                url = next(line.strip() for line in process.stderr if "/authorize?" in line)
                forged = httpx.get(f"http://127.0.0.1:{port}/callback?code=x&state=forged", timeout=30)
                assert "another sign-in" in forged.text
                assert "You are signed in" in httpx.get(url, follow_redirects=True, timeout=30).text
                said, complained = process.communicate(timeout=30)
            assert (process.returncode, complained.strip()) == (0, "")
            assert re.fullmatch(r"Signed in: signed in of localhost, good until .* UTC\.\n", said)
            assert nexus.rows("accounts_oauthtoken")[0]["version"] == 1
            eventually(lambda: ask(nexus).status == 200 and "authorization" in dict(standin.recorder.last.headers))
            stored = str(nexus.rows("accounts_oauthtoken"))
            assert not [secret for secret in server.tokens if secret in stored]
