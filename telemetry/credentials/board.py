"""What one process knows of its credentials' health: the hot path reads it without waiting, and what it finds out goes
to whoever shares it. Pure: the clock is an argument, in seconds since 1970. No Django.

A credential is named by a key: its id, `environment` for CLAUDE_API_KEY, or `caller:` and a domain for the keys that
callers bring themselves.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from telemetry.credentials.circuit import Circuit, CircuitState, Opening
from telemetry.credentials.conf import CircuitConf, CoolingConf
from telemetry.credentials.events import (
    Bound,
    Calls,
    Cooled,
    Cooling,
    Event,
    Forget,
    Limits,
    Opened,
    Owned,
    Reset,
    Said,
)
from telemetry.credentials.headroom import Headers, frees_at, headroom, windows

BINDINGS_MAX = 50_000
OWNED_MAX = 50_000
NEWS_MAX = 20_000
"""Events that wait to be told. Beyond it the oldest are left out: what they say, answers will say again."""
FAMILIES_MAX = 50
SUSPECT_SECONDS = 30.0
T = TypeVar("T")


class Trial(msgspec.Struct, frozen=True):
    """What a call tries for all others: a half-open circuit, a limit whose time is over."""

    circuit: bool = False
    cooling: bool = False


NO_TRIAL = Trial()


class Health:
    """Of one credential."""

    __slots__ = (
        *("calls", "circuit", "coolings", "failures", "headers", "limits", "reset_at", "suspect_until", "trying"),
    )

    def __init__(self, conf: CircuitConf) -> None:
        self.circuit = Circuit(conf)
        self.coolings: dict[str, Cooling] = {}
        self.trying: set[str] = set()
        """Families whose limit is being tried."""
        self.suspect_until = 0.0
        """The API has refused it, and nobody knows yet whether it is the credential's fault."""
        self.headers: dict[str, tuple[float, Headers]] = {}
        """As they came last, by family: they are read when somebody asks."""
        self.limits: dict[str, Limits] = {}
        self.calls = 0
        """Not told to others yet; so are the failures."""
        self.failures = 0
        self.reset_at = 0.0
        """By hand: what was said before counts no more."""


class Board:
    def __init__(self, circuit: CircuitConf, cooling: CoolingConf) -> None:
        self._circuit_conf = circuit
        self._cooling_conf = cooling
        self.healths: dict[str, Health] = {}
        self._bindings: OrderedDict[str, Bound] = OrderedDict()
        self._owned: OrderedDict[str, str] = OrderedDict()
        self.news: deque[Event] = deque(maxlen=NEWS_MAX)
        self.changes = 0
        """Grows with what is worth keeping."""

    def health(self, key: str) -> Health:
        found = self.healths.get(key)
        if found is None:
            found = self.healths[key] = Health(self._circuit_conf)
        return found

    # --- Before a call ----------------------------------------------------------------------------------------------

    def open_until(self, key: str, now: float) -> float | None:
        """When its circuit may be tried; None where it admits a call now."""
        circuit = self.health(key).circuit
        return None if circuit.admits(now) else max(circuit.opening.until, now + 1)

    def cooling(self, key: str, family: str, now: float) -> Cooling | None:
        """What keeps this family away from it now."""
        health = self.health(key)
        cooling = health.coolings.get(family)
        if cooling is None or (now >= cooling.until and family not in health.trying):
            return None
        return cooling

    def is_suspect(self, key: str, now: float) -> bool:
        return self.health(key).suspect_until > now

    def begin(self, key: str, family: str, now: float) -> Trial:
        health = self.health(key)
        cooling = health.coolings.get(family)
        # One that was chosen a moment before the limit was heard of tries nothing.
        tries_limit = cooling is not None and now >= cooling.until
        if tries_limit:
            health.trying.add(family)
        tries_circuit = health.circuit.begin(now)
        return Trial(tries_circuit, tries_limit) if tries_limit or tries_circuit else NO_TRIAL

    # --- How it ended: one of these three ---------------------------------------------------------------------------

    def answered(self, key: str, family: str, status: int, headers: Headers, now: float, trial: Trial) -> None:
        """Whatever the answer was. 529 says that the API is busy, which is nobody's fault."""
        health = self.health(key)
        if status >= 500 and status != 529:
            self._failed(key, health, f"the API answered {status}", now, trial)
        else:
            health.calls += 1
            if health.circuit.succeeded(now, was_trial=trial.circuit):
                self._tell(Opened(key, health.circuit.opening))
        if status == 429:
            self._cool(key, health, family, headers, now)
        elif trial.cooling and status < 500 and family in health.coolings:
            del health.coolings[family]
            self._tell(Cooled(key, family, None))
        if status < 500 and len(health.headers) < FAMILIES_MAX:
            health.headers[family] = (now, headers)
        if trial.cooling:
            health.trying.discard(family)

    def failed(self, key: str, family: str, reason: str, now: float, trial: Trial = NO_TRIAL) -> None:
        """No answer, or not a whole one."""
        health = self.health(key)
        self._failed(key, health, reason, now, trial)
        if trial.cooling:
            health.trying.discard(family)

    def gave_up(self, key: str, family: str, trial: Trial) -> None:
        """The client left before there was an answer, or the request could not even be sent."""
        health = self.health(key)
        if trial.circuit:
            health.circuit.give_up()
        if trial.cooling:
            health.trying.discard(family)

    def suspect(self, key: str, now: float) -> bool:
        """Whether nobody suspected it yet."""
        health = self.health(key)
        is_new = health.suspect_until <= now
        if is_new:
            health.suspect_until = now + SUSPECT_SECONDS
        return is_new

    def clear(self, key: str) -> None:
        """Of suspicion."""
        self.health(key).suspect_until = 0.0

    def _failed(self, key: str, health: Health, reason: str, now: float, trial: Trial) -> None:
        self.news.append(Calls(key, health.calls + 1, health.failures + 1))  # others count it with theirs at once
        health.calls = health.failures = 0
        if health.circuit.failed(now, reason, was_trial=trial.circuit):
            self._tell(Opened(key, health.circuit.opening))

    def _cool(self, key: str, health: Health, family: str, headers: Headers, now: float) -> None:
        conf, before = self._cooling_conf, health.coolings.get(family)
        in_a_row = before.in_a_row + 1 if before and now >= before.until else (before.in_a_row if before else 1)
        unsaid = now + min(conf.max_seconds, conf.unsaid_seconds * 2 ** min(in_a_row - 1, 20))
        until = min(frees_at(headers, now) or unsaid, now + conf.max_seconds)
        if before is None and len(health.coolings) >= FAMILIES_MAX:
            return
        cooling = Cooling(before.since if before else now, until, now, in_a_row)
        health.coolings[family] = cooling
        self._tell(Cooled(key, family, cooling))

    # --- Headroom ---------------------------------------------------------------------------------------------------

    def limits(self, key: str) -> dict[str, Limits]:
        """The API's limits as it said them last, by family of models."""
        health = self.health(key)
        for family, (said_at, headers) in list(health.headers.items()):
            del health.headers[family]
            if found := windows(headers):
                health.limits[family] = Limits(said_at, found)
        return health.limits

    def headroom(self, key: str, family: str, now: float) -> float | None:
        """The share of its limits that is left, 0 to 1; None: not known."""
        found = self.limits(key).get(family)
        return headroom(found.windows, now) if found else None

    # --- Who goes where ---------------------------------------------------------------------------------------------

    def bound(self, session: str) -> str | None:
        """The credential that a session used last."""
        found = self._bindings.get(session)
        if found is None:
            return None
        self._bindings.move_to_end(session)
        return found.key

    def bind(self, session: str, key: str) -> None:
        known = self._bindings.get(session)
        if known is None or known.key != key:
            bound = Bound(session, key, known.turn + 1 if known else 1)
            _remember(self._bindings, session, bound, BINDINGS_MAX)
            self.news.append(bound)

    def hear_bound(self, bound: Bound) -> None:
        """What another process knows."""
        known = self._bindings.get(bound.session)
        if known is None or bound.wins_over(known):
            _remember(self._bindings, bound.session, bound, BINDINGS_MAX)
        elif known.key != bound.key:
            self.news.append(known)  # whoever said so has not heard of it

    def owner(self, made_id: str) -> str | None:
        return self._owned.get(made_id)

    def own(self, made_id: str, key: str) -> None:
        if self._owned.get(made_id) != key:
            _remember(self._owned, made_id, key, OWNED_MAX)
            self.news.append(Owned(made_id, key))

    # --- By hand ----------------------------------------------------------------------------------------------------

    def reset(self, key: str, now: float) -> None:
        self.hear(Reset(key, now))
        self._tell(Reset(key, now))

    def forget(self, key: str) -> None:
        """Which sessions go to it; empty: to any."""
        self.hear(Forget(key))
        self.news.append(Forget(key))

    # --- Shared -----------------------------------------------------------------------------------------------------

    def take_news(self) -> list[Event]:
        """What others have to hear, and counts of the calls since the last time."""
        found = list(self.news)
        self.news.clear()
        for key, health in self.healths.items():
            if health.calls:
                found.append(Calls(key, health.calls, health.failures))
                health.calls = health.failures = 0
            if health.headers:
                fresh = [*health.headers]
                limits = self.limits(key)
                found += [Said(key, family, limits[family]) for family in fresh if family in limits]
        return found

    def hear(self, event: Event, now: float = 0.0) -> None:
        """Of another process."""
        self.changes += 1
        match event:
            case Calls(key, calls, failures):
                self.health(key).circuit.heard(now, calls, failures)
            case Opened(key, opening):
                self.health(key).circuit.told(opening)
            case Cooled(key, family, cooling):
                self._hear_cooled(self.health(key), family, cooling)
            case Said(key, family, limits):
                known = self.health(key).limits.get(family)
                if known is None or known.said_at < limits.said_at:
                    self.health(key).limits[family] = limits
            case Bound():
                self.hear_bound(event)
            case Owned(made_id, key):
                _remember(self._owned, made_id, key, OWNED_MAX)
            case Reset(key, at):
                health = self.health(key)
                health.reset_at = at
                health.circuit.told(Opening(at))
                health.coolings.clear()
                health.trying.clear()
                health.suspect_until = 0.0
            case Forget(key):
                gone = [session for session, bound in self._bindings.items() if key in ("", bound.key)]
                for session in gone:
                    del self._bindings[session]

    def state(self) -> list[Event]:
        """What a process that starts has to know: events that bring another board to the same state."""
        found: list[Event] = []
        for key, health in self.healths.items():
            if health.circuit.opening.said_at:
                found.append(Opened(key, health.circuit.opening))
            found += [Cooled(key, family, cooling) for family, cooling in health.coolings.items()]
            found += [Said(key, family, limits) for family, limits in self.limits(key).items()]
        return found

    def restore(self, events: Iterable[Event], now: float) -> None:
        for event in events:
            self.hear(event, now)

    def is_open(self, key: str, now: float) -> bool:
        return self.health(key).circuit.state(now) is not CircuitState.CLOSED

    def _hear_cooled(self, health: Health, family: str, cooling: Cooling | None) -> None:
        known = health.coolings.get(family)
        if cooling is None:
            health.coolings.pop(family, None)
        elif cooling.said_at > health.reset_at and (known is None or known.said_at < cooling.said_at):
            health.coolings[family] = cooling

    def _tell(self, event: Event) -> None:
        self.changes += 1
        self.news.append(event)


def _remember(where: OrderedDict[str, T], name: str, value: T, most: int) -> None:
    where[name] = value
    where.move_to_end(name)
    if len(where) > most:
        where.popitem(last=False)
