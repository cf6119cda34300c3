"""Renews a credential's token: one process in the whole cluster does, under a claim in the database that ends by
itself, and the new pair is saved before anybody uses it. A refresh token is good once: who loses the new one is locked
out.

Not for the event loop: it asks the database and the token endpoint, and waits for others."""

import contextlib
import logging
import time
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import DatabaseError, close_old_connections, models
from django.utils import timezone

from accounts.crypto import WrongEncryptionKey
from accounts.ids import new_id
from accounts.models import Credential, Installation, OAuthToken
from accounts.oauth import federation
from accounts.oauth.endpoint import FEDERATION_BETA, OAUTH_BETA, Granted, TokenError, ask
from accounts.secret import masked

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=45)
"""Longer than a token endpoint may take, and a command before it."""
WAIT_SECONDS = 40.0
"""For somebody else's refresh."""
POLL_SECONDS = 0.1
GOOD_FOR = timedelta(seconds=30)
BACK_OFF, BACK_OFF_MAX = timedelta(seconds=10), timedelta(minutes=15)
SAVE_TRIES = 6
SAVE_AGAIN_SECONDS = 1.0
REASON_MAX = 300
ENDED = "The refresh token is not good any more: sign in again."


class Renewed(msgspec.Struct, frozen=True):
    access_token: str
    expires_at: datetime | None
    version: int

    def __repr__(self) -> str:
        return f"Renewed(version={self.version})"


def refresh_in_thread(credential_id: UUID, stale_version: int | None = None) -> Renewed:
    """Pool threads come and go: none may leave a connection behind that nobody checks."""
    close_old_connections()
    try:
        return refresh(credential_id, stale_version=stale_version)
    finally:
        close_old_connections()


def refresh(credential_id: UUID, *, stale_version: int | None = None, good_for: timedelta = GOOD_FOR) -> Renewed:
    """A token that is good for so long, and is not that of *stale_version*, which the API did not take. Raises
    TokenError, also where a try to get one failed a moment ago."""
    credential = Credential.objects.filter(id=credential_id).first()
    if credential is None or not credential.is_renewable:
        raise TokenError("There is no such credential that renews itself.", is_final=True)
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        token = _token(credential)
        if (found := _good(token, stale_version, good_for)) is not None:
            return found
        _check_may_try(token)
        claim = new_id()
        if _claim(token, claim):
            return _renew(credential, claim, stale_version, good_for)
        if time.monotonic() >= deadline:
            raise TokenError("Another process has not finished renewing the token. Try again in a moment.")
        time.sleep(POLL_SECONDS)


def renew_due(within: timedelta, most: int, seconds: float) -> int:
    """Renews, within about so many seconds, the tokens that end soon, and gets the first one of federations. One that
    fails does not keep back the others."""
    deadline, renewed = time.monotonic() + seconds, 0
    for credential_id in _due(timezone.now() + within)[:most]:
        if time.monotonic() > deadline:
            break
        try:
            refresh(credential_id, good_for=within)
            renewed += 1
        except TokenError as error:
            logger.warning("the token of credential %s is not renewed: %s", credential_id, error.message)
        except WrongEncryptionKey:
            logger.error("the token of credential %s is not renewed: it cannot be read", credential_id)
    return renewed


def _due(until: datetime) -> list[UUID]:
    renewable = Credential.objects.filter(is_active=True, kind__in=[Credential.Kind.OAUTH, Credential.Kind.FEDERATION])
    may_try = models.Q(token__retry_at=None) | models.Q(token__retry_at__lte=timezone.now())
    ends = models.Q(token__expires_at__lte=until) | models.Q(token__access_token__isnull=True)
    is_first = models.Q(token=None, kind=Credential.Kind.FEDERATION)
    has_more = models.Q(token__isnull=False, token__needs_login=False) & may_try & ends
    return list(renewable.filter(has_more | is_first).order_by("token__expires_at").values_list("id", flat=True))


def _token(credential: Credential) -> OAuthToken:
    found = OAuthToken.objects.filter(credential=credential).first()
    if found is not None:
        return found
    if credential.kind == Credential.Kind.FEDERATION:
        return OAuthToken.objects.get_or_create(credential=credential)[0]
    raise TokenError("Nobody has signed in for it yet.", is_final=True)


def _good(token: OAuthToken, stale_version: int | None, good_for: timedelta) -> Renewed | None:
    if not token.access_token or token.version == stale_version:
        return None
    if token.expires_at is not None and token.expires_at <= timezone.now() + good_for:
        return None
    return Renewed(token.access_token, token.expires_at, token.version)


def _check_may_try(token: OAuthToken) -> None:
    if token.needs_login:
        raise TokenError(token.failure or ENDED, is_final=True)
    if token.retry_at is not None and token.retry_at > timezone.now():
        raise TokenError(f"{token.failure} Nexus tries again at {token.retry_at:%H:%M:%S} UTC.")


def _claim(token: OAuthToken, claim: UUID) -> bool:
    now = timezone.now()
    is_free = models.Q(claimed_until=None) | models.Q(claimed_until__lte=now)
    free = OAuthToken.objects.filter(is_free, pk=token.pk, version=token.version)
    return free.update(claimed_by=claim, claimed_until=now + LEASE) == 1


def _renew(credential: Credential, claim: UUID, stale_version: int | None, good_for: timedelta) -> Renewed:
    """With the claim in hand. What it needs is read again: somebody may have renewed it since."""
    token = OAuthToken.objects.get(credential=credential)
    try:
        if (found := _good(token, stale_version, good_for)) is not None:
            return found
        try:
            granted = _ask(credential, token)
        except TokenError as error:
            return _failed(token, error, stale_version, good_for)
        return _save(token, granted, stale_version, good_for)
    finally:
        _release(token, claim)


def _ask(credential: Credential, token: OAuthToken) -> Granted:
    conf = settings.OAUTH
    if credential.kind == Credential.Kind.FEDERATION:
        return ask(conf, federation.grant(conf, credential), FEDERATION_BETA)
    if not token.refresh_token:
        raise TokenError("There is no refresh token: sign in again.", is_final=True)
    client_id = token.client_id or conf.client_id
    if not client_id:
        raise TokenError("CLAUDE_OAUTH_CLIENT_ID is not set, and the token names no client.")
    grant = {"grant_type": "refresh_token", "refresh_token": token.refresh_token, "client_id": client_id}
    if conf.client_secret and client_id == conf.client_id:
        grant["client_secret"] = conf.client_secret
    return ask(conf, grant, OAUTH_BETA)


def _save(token: OAuthToken, granted: Granted, stale_version: int | None, good_for: timedelta) -> Renewed:
    """Only over the token that it was made from: nobody's newer one is lost."""
    values: dict[str, object] = {
        "access_token": granted.access_token,
        "masked": masked(granted.access_token),
        "expires_at": granted.expires_at,
        "version": token.version + 1,
        "refreshed_at": timezone.now(),
        "failures": 0,
        "failed_at": None,
        "failure": "",
        "retry_at": None,
        "needs_login": False,
        **({"refresh_token": granted.refresh_token} if granted.refresh_token else {}),
        **({"scopes": granted.scopes} if granted.scopes else {}),
    }
    if not _update(token, values):
        newer = OAuthToken.objects.get(pk=token.pk)
        if (found := _good(newer, stale_version, good_for)) is not None:
            return found
        raise TokenError("The token was changed while it was renewed. Try again.")
    Installation.announce_change()
    logger.info("the token of credential %s is renewed until %s", token.pk, granted.expires_at)
    return Renewed(granted.access_token, granted.expires_at, token.version + 1)


def _update(token: OAuthToken, values: dict[str, object]) -> bool:
    """The old refresh token is used up: the new one must not be lost because the database is away for a moment."""
    for tried in range(1, SAVE_TRIES + 1):
        try:
            return OAuthToken.objects.filter(pk=token.pk, version=token.version).update(**values) == 1
        except DatabaseError as error:
            if tried == SAVE_TRIES:
                logger.critical(
                    "the new token of credential %s could not be saved (%s): somebody may have to sign in again",
                    token.pk,
                    type(error).__name__,
                )
                raise
            time.sleep(SAVE_AGAIN_SECONDS)
            close_old_connections()
    raise AssertionError("the loop returns or raises")


def _release(token: OAuthToken, claim: UUID) -> None:
    with contextlib.suppress(DatabaseError):  # it ends by itself
        OAuthToken.objects.filter(pk=token.pk, claimed_by=claim).update(claimed_by=None, claimed_until=None)


def _failed(token: OAuthToken, error: TokenError, stale_version: int | None, good_for: timedelta) -> Renewed:
    """The old pair stays. Where somebody else has renewed it meanwhile, theirs is good. Raises *error* otherwise."""
    newer = OAuthToken.objects.get(pk=token.pk)
    if (found := _good(newer, stale_version, good_for)) is not None:
        return found
    now = timezone.now()
    wait = min(BACK_OFF * 2 ** min(token.failures, 10), BACK_OFF_MAX)
    if error.retry_after_seconds is not None:
        wait = max(wait, timedelta(seconds=error.retry_after_seconds))
    changed = OAuthToken.objects.filter(pk=token.pk, version=token.version).update(
        failures=token.failures + 1,
        failed_at=now,
        failure=error.message[:REASON_MAX],
        retry_at=now + wait,
        needs_login=error.is_final,
    )
    if changed and error.is_final:
        Installation.announce_change()
    raise error
