"""The one cheap call that says how a credential stands, against the stand-in and against troubles of all kinds."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.utils import timezone
from pytest_django import Settings

from accounts.ids import new_id
from accounts.models import Credential, CredentialStanding, Domain, OAuthToken
from accounts.oauth.conf import OAuthConf
from accounts.register import load
from bench.standin import Standin, heads
from telemetry.credentials import marking
from telemetry.credentials.checking import ANSWER_MAX_BYTES, Verdict, ask, check, check_by_id
from tests.conftest import FAKE_API_KEY
from tests.oauthserver import ACCESS, CLIENT_ID, OAuthServer, Trouble, oauth_server
from tests.services import free_port
from tests.telemetry.credentials.conftest import Answering

REVOKED = "sk-ant-api03-fake-revoked-credential-0001"
FAKE_TOKEN = "sk-ant-oat01-fake-token-of-nobody-0001"
NO_PERMISSION = b'{"type":"error","error":{"type":"permission_error","message":"%s"},"request_id":null}'


def standing(credential: Credential) -> CredentialStanding:
    return CredentialStanding.objects.get(credential=credential)


def renewable(domain: Domain, token: str = FAKE_TOKEN, **changes: Any) -> Credential:
    credential = Credential.objects.create(domain=domain, name="login", kind=Credential.Kind.OAUTH)
    values = {"access_token": token, "expires_at": timezone.now() + timedelta(hours=1), "version": 1} | changes
    OAuthToken.objects.create(credential=credential, **values)
    return credential


def test_a_key_that_is_taken(credential: Credential, standin: Standin) -> None:
    found = check(credential)
    assert found.is_ok
    assert found.status == 200
    assert found.latency_ms is not None
    assert found.organization_id == heads.organization_id(FAKE_API_KEY)
    assert found.workspace_id.startswith("wrkspc_01")
    assert "claude-opus-4-8" in found.models
    assert found.sentence == ""
    kept = standing(credential)
    assert kept.checked_at is not None
    assert (kept.check_status, kept.check_message, kept.latency_ms) == (200, "", found.latency_ms)
    assert kept.organization_id == found.organization_id
    assert kept.models_seen == list(found.models)
    assert kept.invalid_since is None


def test_it_asks_as_the_proxy_does(credential: Credential, domain: Domain, standin: Standin) -> None:
    check(credential)
    sent = standin.recorder.last
    assert (sent.method, sent.target) == ("GET", "/v1/models?limit=1000")
    headers = dict(sent.headers)
    assert headers["x-api-key"] == FAKE_API_KEY
    assert headers["anthropic-version"] == "2023-06-01"
    assert not {"authorization", "anthropic-beta"} & headers.keys()


@pytest.mark.parametrize("kind", [Credential.Kind.BEARER, Credential.Kind.OAUTH, Credential.Kind.FEDERATION])
def test_a_token_goes_as_a_token(kind: Credential.Kind, domain: Domain, standin: Standin) -> None:
    credential = renewable(domain)
    if kind is Credential.Kind.BEARER:
        credential = Credential.objects.create(domain=domain, name="bearer", kind=kind, secret=FAKE_TOKEN)
    Credential.objects.filter(id=credential.id).update(kind=kind)
    credential.refresh_from_db()
    assert check(credential).is_ok
    headers = dict(standin.recorder.last.headers)
    assert headers["authorization"] == f"Bearer {FAKE_TOKEN}"
    assert headers["anthropic-beta"] == "oauth-2025-04-20"
    assert "x-api-key" not in headers


def test_a_key_that_is_refused_is_marked(domain: Domain, standin: Standin) -> None:
    credential = Credential.objects.create(domain=domain, name="old", secret=REVOKED)
    found = check(credential)
    assert found.verdict is Verdict.REFUSED
    assert found.status == 401
    assert (
        found.sentence
        == "The API does not take it (401). It says: invalid x-api-key. Paste a new key, or sign in again."
    )
    (facts,) = load().credentials[domain.id]
    assert facts.invalid_since is not None
    assert facts.invalid_reason == "The API does not take it (401). It says: invalid x-api-key."


def test_one_that_is_taken_again_is_marked_no_more(credential: Credential, standin: Standin) -> None:
    marking.mark_invalid(credential.id, "401")
    assert check(credential).is_ok
    assert standing(credential).invalid_since is None


@pytest.mark.parametrize(
    ("status", "body", "verdict", "says"),
    [
        (401, b"<html>", Verdict.REFUSED, "does not take it"),
        (403, NO_PERMISSION % b"Your account is disabled.", Verdict.REFUSED, "Your account is disabled."),
        (403, NO_PERMISSION % b"OAuth token does not meet scope requirement user:profile", Verdict.UNKNOWN, "scope"),
        (403, b'{"error":{"type":"forbidden","message":"Request not allowed"}}', Verdict.UNKNOWN, "on the way"),
        (403, b"<html>Access denied</html>", Verdict.UNKNOWN, "on the way"),
        (200, b"<html>Sign in to the Wi-Fi</html>", Verdict.UNKNOWN, "not the Claude API"),
        (200, b"\xff\xfe", Verdict.UNKNOWN, "not the Claude API"),
        (200, b"[" * 100_000, Verdict.UNKNOWN, "not the Claude API"),
        (301, b"", Verdict.UNKNOWN, "301"),
        (400, b"", Verdict.UNKNOWN, "400"),
        (402, b"", Verdict.UNKNOWN, "paid"),
        (404, b"", Verdict.UNKNOWN, "CLAUDE_API_BASE_URL"),
        (429, b"", Verdict.UNKNOWN, "limits"),
        (500, b"", Verdict.UNKNOWN, "in trouble (500)"),
        (502, b"", Verdict.UNKNOWN, "in trouble (502)"),
        (529, b"", Verdict.UNKNOWN, "overloaded"),
    ],
)
def test_only_what_is_about_the_key_marks_it(
    status: int, body: bytes, verdict: Verdict, says: str, credential: Credential, answering: Answering
) -> None:
    for was_invalid in (False, True):
        if was_invalid:
            marking.mark_invalid(credential.id, "before")
        answering(status, body)
        found = check(credential)
        assert (found.status, found.verdict) == (status, verdict)
        assert says in found.sentence
        kept = standing(credential)
        assert (kept.check_status, kept.check_message) == (status, found.sentence)
        assert (kept.invalid_since is not None) == (was_invalid or verdict is Verdict.REFUSED)
        marking.mark_valid(credential.id)


def test_no_answer_says_nothing_about_the_key(credential: Credential, settings: Settings) -> None:
    settings.UPSTREAM = replace(settings.UPSTREAM, base_url=f"http://127.0.0.1:{free_port()}")
    found = check(credential)
    assert (found.verdict, found.status, found.latency_ms) == (Verdict.UNKNOWN, None, None)
    assert found.problem == "The API cannot be reached (ConnectError)."
    assert standing(credential).invalid_since is None


def test_a_failed_check_keeps_what_was_known(credential: Credential, standin: Standin, settings: Settings) -> None:
    check(credential)
    before = standing(credential)
    settings.UPSTREAM = replace(settings.UPSTREAM, base_url=f"{standin.url}/nowhere")
    assert check(credential).status == 404
    after = standing(credential)
    assert (after.organization_id, after.models_seen) == (before.organization_id, before.models_seen)


def test_the_limits_that_an_answer_names(credential: Credential, answering: Answering) -> None:
    headers = [
        (b"anthropic-ratelimit-requests-limit", b"100"),
        (b"anthropic-ratelimit-requests-remaining", b"25"),
        (b"anthropic-ratelimit-unified-7d_oi-utilization", b"0.9"),
    ]
    answering(200, b'{"data":[{"id":"claude-one"}]}', headers)
    found = check(credential)
    assert found.models == ("claude-one",)
    assert {window.name: window.left for window in found.limits} == {
        "requests": 0.25,
        "unified-7d_oi": pytest.approx(0.1),
    }


def test_a_flood_is_not_read_to_its_end(credential: Credential, answering: Answering) -> None:
    answering(200, b'{"data":[' + b'{"id":"claude-one"},' * (ANSWER_MAX_BYTES // 10))
    assert check(credential).verdict is Verdict.UNKNOWN


def test_no_secret_comes_back(credential: Credential, answering: Answering, caplog: Any) -> None:
    echo = b'{"error":{"type":"authentication_error","message":"no such key: %s\\n\\u0000"}}' % FAKE_API_KEY.encode()
    answering(401, echo)
    with caplog.at_level(logging.DEBUG):
        found = check(credential)
    kept = standing(credential)
    assert "no such key" in found.sentence
    for text in (repr(found), kept.check_message, kept.invalid_reason, caplog.text):
        assert FAKE_API_KEY not in text
        assert "fake-credential" not in text


def test_a_secret_that_is_no_header_is_not_shown(answering: Answering) -> None:
    for odd in ("one\r\ntwo-secret", "schlüssel-secret\x00"):
        found = ask(odd, is_bearer=True)
        assert found.verdict is Verdict.UNKNOWN or found.status == 200
        assert "secret" not in repr(found)


def test_the_answer_to_a_replaced_key_marks_nothing(domain: Domain, standin: Standin) -> None:
    credential = Credential.objects.create(domain=domain, name="old", secret=REVOKED)
    stale = Credential.objects.get(id=credential.id)
    stale.secret  # noqa: B018 (read before it is replaced)
    credential.secret = FAKE_API_KEY
    credential.save()
    assert check(stale).verdict is Verdict.REFUSED
    assert standing(credential).invalid_since is None


def test_without_a_sign_in_nothing_is_asked(domain: Domain, standin: Standin) -> None:
    credential = renewable(domain)
    OAuthToken.objects.update(access_token=None)
    for says in ("There is no refresh token: sign in again.", "Nobody has signed in for it yet."):
        found = check(credential)
        assert (found.verdict, found.status, found.sentence, found.was_asked) == (Verdict.UNKNOWN, None, says, False)
        assert not standin.recorder.exchanges
        assert standing(credential).invalid_since is None
        OAuthToken.objects.all().delete()


@pytest.fixture
def tokens(settings: Settings) -> Iterator[OAuthServer]:
    with oauth_server() as server:
        settings.OAUTH = OAuthConf(token_url=f"{server.url}/token", client_id=CLIENT_ID)
        yield server


def test_a_token_that_is_over_is_renewed_and_asked_with(domain: Domain, standin: Standin, tokens: OAuthServer) -> None:
    over = timezone.now() - timedelta(hours=1)
    credential = renewable(domain, expires_at=over, refresh_token=tokens.issue())
    assert check(credential).is_ok
    assert len(tokens.asked) == 1
    assert dict(standin.recorder.last.headers)["authorization"].startswith(f"Bearer {ACCESS}")


def test_a_token_that_is_not_taken_is_renewed_once(domain: Domain, standin: Standin, tokens: OAuthServer) -> None:
    credential = renewable(domain, "sk-ant-oat01-fake-revoked-token-0001", refresh_token=tokens.issue())
    marking.mark_invalid(credential.id, "401")
    assert check(credential).is_ok
    assert (len(tokens.asked), len(standin.recorder.exchanges)) == (1, 2)
    assert standing(credential).invalid_since is None


def test_one_whose_sign_in_is_over_too_is_marked(domain: Domain, standin: Standin, tokens: OAuthServer) -> None:
    credential = renewable(domain, "sk-ant-oat01-fake-revoked-token-0001", refresh_token="sk-ant-ort01-fake-of-nobody")
    assert check(credential).status == 401
    assert standing(credential).invalid_since is not None
    assert OAuthToken.objects.get().needs_login


def test_a_token_endpoint_in_trouble_marks_nothing(domain: Domain, standin: Standin, tokens: OAuthServer) -> None:
    over = timezone.now() - timedelta(hours=1)
    credential = renewable(domain, expires_at=over, refresh_token=tokens.issue())
    tokens.troubles.append(Trouble())
    found = check(credential)
    assert (found.verdict, found.was_asked) == (Verdict.UNKNOWN, False)
    assert "500" in found.sentence
    assert standing(credential).invalid_since is None


def test_an_unreadable_secret_is_said(credential: Credential, standin: Standin, settings: Settings) -> None:
    settings.NEXUS_ENCRYPTION_KEYS = Fernet.generate_key().decode()
    found = check(Credential.objects.get(id=credential.id))
    assert found.problem == "It cannot be read with NEXUS_ENCRYPTION_KEYS."


@pytest.mark.django_db(transaction=True)
def test_threads_ask_by_id(standin: Standin) -> None:
    domain = Domain.objects.create(host="claude.example.com")
    credential = Credential.objects.create(domain=domain, name="old", secret=REVOKED)
    assert check_by_id(new_id()) is None
    found = check_by_id(credential.id)
    assert found is not None
    assert found.status == 401
    assert standing(credential).invalid_since is not None
