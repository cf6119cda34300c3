"""A token is renewed once, saved before it is used, and never lost: `accounts.oauth.refreshing`."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from accounts.models import Credential, Domain, Installation, OAuthToken
from accounts.oauth import refreshing
from accounts.oauth.conf import OAuthConf
from accounts.oauth.endpoint import TokenError
from accounts.oauth.refreshing import refresh, renew_due
from accounts.register import load
from tests.oauthserver import ACCESS, CLIENT_ID, OAuthServer, Trouble, oauth_server

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(settings: Settings) -> Iterator[OAuthServer]:
    with oauth_server() as served:
        settings.OAUTH = OAuthConf(token_url=f"{served.url}/token", client_id=CLIENT_ID)
        yield served


@pytest.fixture
def credential(domain: Domain, server: OAuthServer) -> Credential:
    """Its token has ended."""
    row = Credential.objects.create(domain=domain, name="main", owner="Grace", kind="oauth")
    OAuthToken.objects.create(
        credential=row,
        access_token=ACCESS + "old",
        refresh_token=server.issue(),
        expires_at=timezone.now() - timedelta(minutes=1),
        version=1,
    )
    return row


def token_of(credential: Credential) -> OAuthToken:
    return OAuthToken.objects.get(credential=credential)


def test_a_token_that_has_ended_is_renewed_and_saved(credential: Credential, server: OAuthServer) -> None:
    before, old = Installation.current().generation, token_of(credential)
    found = refresh(credential.id)
    saved = token_of(credential)
    assert found.access_token.startswith(ACCESS)
    assert (saved.access_token, saved.version) == (found.access_token, 2)
    assert saved.refresh_token in server.tokens
    assert saved.refresh_token != old.refresh_token
    assert saved.masked == f"sk-ant-oat01-…{found.access_token[-4:]}"
    assert saved.claimed_by is None
    assert Installation.current().generation > before
    assert load().credentials[credential.domain_id][0].secret == found.access_token
    (asked,) = server.asked
    assert (asked["beta"], asked["is_json"], asked["client_id"]) == ("oauth-2025-04-20", True, CLIENT_ID)


def test_it_asks_by_form_where_the_endpoint_wants_one(
    credential: Credential, server: OAuthServer, settings: Settings
) -> None:
    settings.OAUTH = OAuthConf(token_url=f"{server.url}/token", client_id=CLIENT_ID, token_format="form")
    refresh(credential.id)
    assert server.asked[0]["is_json"] is False


def test_one_that_is_good_is_left_alone(credential: Credential, server: OAuthServer) -> None:
    first = refresh(credential.id)
    assert refresh(credential.id) == first
    assert refresh(credential.id, stale_version=1) == first
    assert server.refreshes == 1
    assert refresh(credential.id, stale_version=first.version) != first
    assert server.refreshes == 2


def test_many_at_once_cause_one_refresh(credential: Credential, server: OAuthServer) -> None:
    server.delay_seconds = 0.2

    def ask() -> str:
        try:
            return refresh(credential.id).access_token
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        found = {future.result() for future in [pool.submit(ask) for _ in range(16)]}
    assert len(found) == 1
    assert server.refreshes == 1


def test_a_full_save_elsewhere_does_not_put_an_old_token_back(credential: Credential) -> None:
    stale = Credential.objects.select_related("token").get(id=credential.id)
    new = refresh(credential.id)
    stale.name = "renamed"
    stale.save()
    assert token_of(credential).access_token == new.access_token


@pytest.mark.parametrize(
    ("trouble", "word"),
    [
        (Trouble(500), "answered 500"),
        (Trouble(429, b'{"error": "slow_down"}', {"retry-after": "120"}), "429"),
        (Trouble(200, b"<html>"), "no token response"),
        (Trouble(200, b'{"access_token": "two words", "expires_in": 60}'), "cannot be one"),
        (Trouble(200, b'{"access_token": "nxs_live_aaaaaaaaaaaa", "expires_in": 60}'), "cannot be one"),
        (Trouble(200, b'{"access_token": "x", "token_type": "mac"}'), "no bearer token"),
        (Trouble(200, b'{"access_token": "x", "expires_in": "soon"}'), "no token response"),
        (Trouble(302, b"", {"location": "http://127.0.0.1:9/"}), "answered 302"),
    ],
)
def test_a_failure_keeps_the_old_pair_and_waits(
    credential: Credential, server: OAuthServer, trouble: Trouble, word: str
) -> None:
    old = token_of(credential)
    server.troubles.append(trouble)
    with pytest.raises(TokenError, match=word):
        refresh(credential.id)
    kept = token_of(credential)
    assert (kept.refresh_token, kept.access_token, kept.version) == (old.refresh_token, old.access_token, 1)
    assert kept.claimed_by is None
    assert (kept.failures, kept.needs_login) == (1, False)
    with pytest.raises(TokenError, match="tries again at"):
        refresh(credential.id)
    assert len(server.asked) == 1
    OAuthToken.objects.update(retry_at=timezone.now())
    assert refresh(credential.id).version == 2
    assert (token_of(credential).failures, token_of(credential).failure) == (0, "")


def test_it_honours_retry_after(credential: Credential, server: OAuthServer) -> None:
    server.troubles.append(Trouble(429, b"{}", {"retry-after": "300"}))
    with pytest.raises(TokenError):
        refresh(credential.id)
    retry_at = token_of(credential).retry_at
    assert retry_at is not None
    assert timedelta(seconds=290) < retry_at - timezone.now() <= timedelta(seconds=300)


def test_a_refresh_token_that_is_used_up_needs_a_person(credential: Credential, server: OAuthServer) -> None:
    server.tokens.clear()
    with pytest.raises(TokenError, match="invalid_grant"):
        refresh(credential.id)
    assert token_of(credential).needs_login
    with pytest.raises(TokenError):
        refresh(credential.id)
    assert len(server.asked) == 1


def test_whoever_finds_it_used_up_takes_the_others_result(credential: Credential, server: OAuthServer) -> None:
    """A process was held up for longer than its claim: another one has refreshed meanwhile."""
    held_up = token_of(credential)
    newer = refresh(credential.id)
    found = refreshing._failed(held_up, TokenError("used", is_final=True), None, refreshing.GOOD_FOR)
    assert found.access_token == newer.access_token
    assert not token_of(credential).needs_login


def test_the_claim_of_a_process_that_was_killed_ends(credential: Credential, server: OAuthServer) -> None:
    OAuthToken.objects.update(claimed_by=credential.id, claimed_until=timezone.now() + timedelta(seconds=0.5))
    assert refresh(credential.id).version == 2
    assert server.refreshes == 1


def test_an_endpoint_that_returns_no_refresh_token_leaves_the_old_one(
    credential: Credential, server: OAuthServer
) -> None:
    old = token_of(credential).refresh_token
    server.troubles.append(Trouble(200, b'{"access_token": "sk-ant-oat01-fake-access-new"}'))
    refresh(credential.id)
    saved = token_of(credential)
    assert saved.refresh_token == old
    assert saved.expires_at is not None
    assert timedelta(minutes=59) < saved.expires_at - timezone.now() <= timedelta(hours=1)


def test_what_ends_soon_is_renewed_in_the_background(
    credential: Credential, server: OAuthServer, domain: Domain
) -> None:
    lost = Credential.objects.create(domain=domain, name="lost", owner="Grace", kind="oauth")
    OAuthToken.objects.create(credential=lost, refresh_token="used-up", version=1)
    fresh = Credential.objects.create(domain=domain, name="fresh", owner="Grace", kind="oauth")
    in_an_hour = timezone.now() + timedelta(hours=1)
    OAuthToken.objects.create(credential=fresh, access_token="x", refresh_token="y", expires_at=in_an_hour)
    OAuthToken.objects.filter(credential=credential).update(expires_at=timezone.now() + timedelta(minutes=4))
    assert renew_due(timedelta(minutes=5), most=10, seconds=5) == 1
    assert (token_of(credential).version, token_of(lost).needs_login, token_of(fresh).version) == (2, True, 0)
    assert renew_due(timedelta(minutes=5), most=10, seconds=5) == 0


def test_no_token_is_ever_told(credential: Credential, server: OAuthServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("authlib").setLevel(logging.WARNING)  # the server's own
    old = token_of(credential)
    server.troubles.append(Trouble(400, b'{"error": "%s"}' % (old.refresh_token or "").encode()))
    with pytest.raises(TokenError) as raised:
        refresh(credential.id)
    OAuthToken.objects.update(retry_at=None, needs_login=False)
    new = refresh(credential.id)
    told = caplog.text + str(raised.value) + repr(new) + token_of(credential).failure
    for secret in (old.access_token, old.refresh_token, new.access_token, token_of(credential).refresh_token):
        assert secret
        assert secret not in told
