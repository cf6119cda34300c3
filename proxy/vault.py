"""Chooses what Claude is called with: the credentials that can take a request, the best first."""

import hashlib
import math
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime

from accounts.facts import ClientKeyFacts, CredentialFacts, Snapshot
from proxy.eligibility import Hindrance, Obstacle, Wanted, obstacle
from proxy.errors import CredentialsResting, NoCredential, ProxyError
from proxy.headers import Headers, with_bearer
from proxy.wire import Ask
from telemetry.credentials.board import Board
from telemetry.money.families import family_of

OAUTH_TOKEN_START = "sk-ant-oat"  # noqa: S105 (how such a token begins)
ENVIRONMENT = "environment"
HEADROOM_CLASSES = 4
"""Quarters: a session does not care for less, and what processes know of headroom is never quite the same."""
OPENING_MAX_BYTES = 16_000
"""Of the first message: enough to tell conversations apart, and no work for one of megabytes."""
_CACHE_MARKS = re.compile(rb',?\s*"cache_control"\s*:\s*(?:\{[^{}]*\}|null)')
Recall = Callable[[str], Awaitable[None]]


class Choice:
    """A credential and where it came from: `domain`, `caller` or `environment`."""

    __slots__ = ("credential", "key", "own_headers", "source")

    def __init__(
        self, source: str, credential: CredentialFacts | None, own_headers: Headers = (), key: str = ""
    ) -> None:
        self.source = source
        self.credential = credential
        self.own_headers = own_headers
        self.key = key or source
        """How its health is known (`telemetry.credentials.board`)."""

    @property
    def name(self) -> str:
        return self.credential.name if self.credential else "the caller's own"

    def renewed(self, credential: CredentialFacts) -> "Choice":
        """The same with a new token."""
        return Choice(self.source, credential, self.own_headers, self.key)

    def authenticate(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The headers with the credential; a caller's own goes as it came."""
        if self.credential is None:
            return [*headers, *self.own_headers]
        if self.credential.is_bearer:
            return with_bearer(headers, self.credential.secret)
        return [*headers, (b"x-api-key", self.credential.secret.encode())]


async def _nothing(name: str) -> None:
    pass


class Vault:
    def __init__(self, default_key: str, board: Board, recall: Recall = _nothing) -> None:
        """*recall* puts on the board which credential a session uses in another process."""
        self._board = board
        self._recall = recall
        self._default = (
            CredentialFacts(None, "CLAUDE_API_KEY", default_key.startswith(OAUTH_TOKEN_START), default_key)
            if default_key
            else None
        )

    def pool(self, snapshot: Snapshot, key: ClientKeyFacts, own_headers: Headers) -> list[Choice]:
        """The domain's own credentials, else the caller's own where the domain allows it, else CLAUDE_API_KEY.
        Raises NoCredential."""
        if (credentials := snapshot.credentials.get(key.domain.id)) is not None:
            if not credentials:
                raise NoCredential(
                    f"No credential of the domain {key.domain.host} can be used: each is switched off or unreadable. "
                    "An operator mends that in the admin under Credentials."
                )
            return [Choice("domain", each, key=str(each.id)) for each in credentials]
        if own_headers and key.domain.allow_passthrough:
            return [Choice("caller", None, own_headers, f"caller:{key.domain.id}")]
        if self._default is not None:
            return [Choice(ENVIRONMENT, self._default)]
        raise NoCredential(
            f"Nexus has no credential for the domain {key.domain.host}. An operator adds one in the admin under "
            "Credentials, or sets CLAUDE_API_KEY."
        )

    async def order(self, pool: list[Choice], wanted: Wanted) -> list[Choice]:
        """Those that can take the request now, the best first. Raises CredentialsResting, NoCredential."""
        now = time.time()
        hindered = {
            each.key: found
            for each in pool
            if each.credential is not None
            and (found := obstacle(each.credential, each.key, wanted, self._board, now)) is not None
        }
        eligible = [each for each in pool if each.key not in hindered] if hindered else pool
        if not eligible:
            raise _nobody(pool, hindered, now)
        if len(pool) == 1:
            return eligible
        return self._ordered(pool, eligible, wanted, await self._bound(wanted.session), now)

    async def _bound(self, session: str) -> str | None:
        if (found := self._board.bound(session)) is not None:
            return found
        await self._recall(session)
        return self._board.bound(session)

    def _ordered(
        self, pool: Sequence[Choice], eligible: Sequence[Choice], wanted: Wanted, bound: str | None, now: float
    ) -> list[Choice]:
        heads = {each.key: each for each in pool}
        teams: dict[str, list[Choice]] = {}
        for each in eligible:
            replaced = _replaced(each, heads)
            teams.setdefault(replaced.key if replaced else each.key, []).append(each)
        ranked = sorted(
            ((self._rank(heads[key], bound, wanted, now), key) for key in teams), key=lambda ranked: ranked[0]
        )
        found = [each for _, key in ranked for each in _staged(teams[key], heads, wanted.session)]
        return sorted(found, key=lambda each: self._board.is_suspect(each.key, now))

    def _rank(self, choice: Choice, bound: str | None, wanted: Wanted, now: float) -> tuple[float, ...]:
        """Lower is better: priority, then where the session is, then headroom, then chance by weight."""
        credential = choice.credential
        assert credential is not None  # noqa: S101 (a pool of several is a domain's)
        left = self._board.headroom(choice.key, wanted.family, now)
        headroom_class = HEADROOM_CLASSES if left is None else math.ceil(left * HEADROOM_CLASSES)
        chance = random.random() ** (1 / max(1, credential.weight))  # noqa: S311 (no secret)
        return (credential.is_standby, credential.priority, choice.key != bound, -headroom_class, -chance)

    def bind(self, wanted: Wanted, choice: Choice, pool: Sequence[Choice]) -> None:
        """The session stays with the credential that answered it."""
        if len(pool) > 1:
            replaced = _replaced(choice, {each.key: each for each in pool})
            self._board.bind(wanted.session, replaced.key if replaced else choice.key)


def wanted(ask: Ask, key: ClientKeyFacts, session_id: str, owner: str, *, is_pool: bool) -> Wanted:
    """Where there is only one credential, nobody asks for the session."""
    session = _session(ask, key, session_id) if is_pool else ""
    return Wanted(model=ask.model, family=family_of(ask.model), session=session, owner=owner)


def _session(ask: Ask, key: ClientKeyFacts, session_id: str) -> str:
    """What shares a prompt cache: a session of Claude Code, else a conversation, else all that a client key does."""
    opening = bytes(memoryview(ask.opening)[:OPENING_MAX_BYTES])
    if session_id:
        name = b"session " + session_id.encode()
    elif ask.message_count and opening != b"null":
        name = b"conversation " + _CACHE_MARKS.sub(b"", opening)
    else:
        name = b"key " + key.id.bytes
    return hashlib.blake2b(name, digest_size=16, key=key.domain.id.bytes).hexdigest()


def _replaced(choice: Choice, heads: dict[str, Choice]) -> Choice | None:
    """The credential of this pool that it is to replace."""
    credential = choice.credential
    return heads.get(str(credential.replaces_id)) if credential and credential.replaces_id else None


def _staged(team: Sequence[Choice], heads: dict[str, Choice], session: str) -> list[Choice]:
    """A credential and those that are to replace it: the new one goes first for its share of the sessions. For the
    others it is there if the old one fails; with a share of 0 not even then."""
    replacing = [each for each in team if _replaced(each, heads) is not None]
    old = [each for each in team if each not in replacing]
    first = [each for each in replacing if _is_in_share(each, session)]
    spare = [each for each in replacing if each not in first and _share(each)]
    return [*first, *old, *spare]


def _share(choice: Choice) -> int:
    return choice.credential.traffic_percent if choice.credential else 0


def _is_in_share(choice: Choice, session: str) -> bool:
    drawn = hashlib.blake2b(f"{session} {choice.key}".encode(), digest_size=8).digest()
    return int.from_bytes(drawn) % 100 < _share(choice)


def _nobody(pool: Iterable[Choice], hindered: dict[str, Obstacle], now: float) -> ProxyError:
    found = [(each.name, hindered[each.key]) for each in pool]
    resting = [each for _, each in found if each.until]
    told = "; ".join(_told(name, each) for name, each in found[:5])
    text = f"No credential can take this request: {told}."
    if not resting:
        return NoCredential(f"{text} An operator of Nexus mends that in the admin under Credentials.")
    soonest = min(resting, key=lambda each: each.until)
    seconds = max(1, math.ceil(soonest.until - now))
    return CredentialsResting(f"{text} Try again then.", seconds, is_limit=soonest.hindrance is Hindrance.COOLING)


def _told(name: str, each: Obstacle) -> str:
    when = f" until {datetime.fromtimestamp(each.until, UTC):%H:%M:%S} UTC" if each.until else ""
    return f"“{name}” {each.hindrance.value}{when}"
