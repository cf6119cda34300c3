"""How a credential stands, in one word and a reason: from its rows, and from what the running processes know."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from accounts.crypto import is_sealed
from accounts.models import Credential, OAuthToken
from telemetry.credentials import reading
from telemetry.credentials.circuit import CircuitState
from telemetry.credentials.reading import Standing

EXPIRING = timedelta(days=7)
NOTHING_KNOWN = Standing()


class State(StrEnum):
    """The first that holds."""

    INVALID = "invalid"
    OPEN = "open"
    COOLING = "cooling"
    EXPIRING = "expiring"
    OK = "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    state: State
    reason: str = ""
    since: datetime | None = None
    until: datetime | None = None
    """When it may be over: the circuit's next try, the end of cooling, the end of the key or token."""
    is_known: bool = True
    """Whether the running processes have said how they see it."""

    @property
    def is_ok(self) -> bool:
        """Requests go to it."""
        return self.state in (State.OK, State.EXPIRING)

    def as_dict(self) -> dict[str, Any]:
        return {
            "status": self.state.value,
            "reason": self.reason,
            "since": self.since,
            "until": self.until,
            "is_known": self.is_known,
        }


def with_rows(credentials: "QuerySet[Credential]") -> "QuerySet[Credential]":
    """What a status is made of, in one query."""
    return credentials.select_related("domain", "token", "standing").defer("secret", "token__refresh_token")


def known_standings() -> tuple[Mapping[str, Standing], bool]:
    """What the running processes know, and whether they could be asked."""
    try:
        return reading.standings(), True
    except reading.NotReached:
        return {}, False


def statuses(credentials: Iterable[Credential]) -> dict[UUID, Status]:
    """Of rows of `with_rows`; the processes are asked once."""
    standings, is_known = known_standings()
    now = timezone.now()
    return {row.id: status_of(row, standings.get(str(row.id)), now, is_known=is_known) for row in credentials}


def status_of(row: Credential, found: Standing | None, now: datetime, *, is_known: bool = True) -> Status:
    status = (
        _invalid(row, now) or _open(found or NOTHING_KNOWN) or _cooling(found or NOTHING_KNOWN) or _expiring(row, now)
    )
    return status or Status(state=State.OK, is_known=is_known)


def status_of_environment(found: Standing | None, *, is_known: bool = True) -> Status:
    """Of CLAUDE_API_KEY, which has no row."""
    status = _open(found or NOTHING_KNOWN) or _cooling(found or NOTHING_KNOWN)
    return status or Status(state=State.OK, is_known=is_known)


def ends_at(row: Credential) -> datetime | None:
    """Of its key, or of its token."""
    token = token_of(row)
    return token.expires_at if token else row.expires_at


def token_of(row: Credential) -> OAuthToken | None:
    return getattr(row, "token", None) if row.is_renewable else None


# --- From rows -------------------------------------------------------------------------------------------------------


def _invalid(row: Credential, now: datetime) -> Status | None:
    standing = getattr(row, "standing", None)
    if standing is not None and standing.invalid_since is not None:
        return Status(state=State.INVALID, reason=standing.invalid_reason, since=standing.invalid_since)
    if not row.is_renewable:
        return None
    token = token_of(row)
    if token is None or not _has_one(token):
        return _without_token(row, token)
    if token.expires_at is not None and token.expires_at <= now and (token.failures or token.needs_login):
        return Status(state=State.INVALID, reason=_trouble(token), since=token.expires_at)
    return None


def _has_one(token: OAuthToken) -> bool:
    """What the database holds is not opened for that."""
    return is_sealed(token, "access_token") or bool(token.access_token)


def _without_token(row: Credential, token: OAuthToken | None) -> Status | None:
    """A federation gets its first one by itself."""
    if token is not None and (token.failures or token.needs_login):
        return Status(state=State.INVALID, reason=_trouble(token), since=token.failed_at)
    if row.kind == Credential.Kind.FEDERATION:
        return None
    return Status(state=State.INVALID, reason="It needs a sign-in: it has no token yet.", since=row.created_at)


def _expiring(row: Credential, now: datetime) -> Status | None:
    token = token_of(row)
    if token is not None and (token.needs_login or token.failures):
        return Status(state=State.EXPIRING, reason=_trouble(token), since=token.failed_at, until=token.expires_at)
    if row.is_renewable or row.expires_at is None or row.expires_at > now + EXPIRING:
        return None
    verb = "ends" if row.expires_at > now else "ended"
    reason = f"Its key {verb} on {row.expires_at:%Y-%m-%d at %H:%M} UTC."
    return Status(state=State.EXPIRING, reason=reason, since=row.expires_at - EXPIRING, until=row.expires_at)


def _trouble(token: OAuthToken) -> str:
    if token.needs_login:
        return f"It needs a sign-in. {token.failure}".strip()
    return f"Its token cannot be renewed, {token.failures} times in a row. {token.failure}".strip()


# --- From what the processes know ------------------------------------------------------------------------------------


def _open(found: Standing) -> Status | None:
    now, opening = time.time(), found.opening
    circuit = found.circuit(now)
    if circuit is CircuitState.CLOSED:
        return None
    next_step = (
        "It is tried again with the next request"
        if circuit is CircuitState.HALF_OPEN
        else "It is left alone for a while"
    )
    reason = f"{next_step}: {opening.reason}." if opening.reason else f"{next_step}."
    return Status(state=State.OPEN, reason=reason, since=moment(opening.opened_at), until=moment(opening.until or None))


def _cooling(found: Standing) -> Status | None:
    coolings = found.cooling_now(time.time())
    if not coolings:
        return None
    named = ", ".join(sorted(family or "other calls" for family in coolings))
    return Status(
        state=State.COOLING,
        reason=f"The API has answered 429 for {named}.",
        since=moment(min(cooling.since for cooling in coolings.values())),
        until=moment(max(cooling.until for cooling in coolings.values())),
    )


def moment(seconds: float | None) -> datetime | None:
    """Since 1970."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
