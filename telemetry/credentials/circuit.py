"""A circuit breaker: after failures in a row, or too many among many, nothing is sent for a while; then one call at a
time tries, and some successes close it again. It is fed by what says that the API cannot be reached or is broken, never
by its refusals. Pure: the clock is an argument, in seconds since 1970. No Django.
"""

from collections import deque
from enum import StrEnum

import msgspec

from telemetry.credentials.conf import CircuitConf

WINDOW_SECONDS = 60
SLOT_SECONDS = 5


class CircuitState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Opening(msgspec.Struct, frozen=True):
    """What processes tell one another of a circuit. The later word counts."""

    said_at: float
    opened_at: float = 0.0
    """0: it is closed."""
    until: float = 0.0
    """When it may be tried again."""
    successes: int = 0
    """Since then."""
    reason: str = ""


CLOSED = Opening(said_at=0.0)


class Circuit:
    __slots__ = ("_conf", "_in_a_row", "_slots", "_trying", "opening")

    def __init__(self, conf: CircuitConf) -> None:
        self._conf = conf
        self._slots: deque[list[int]] = deque()
        """Number of the slot, calls, failures."""
        self._in_a_row = 0
        self._trying = False
        self.opening = CLOSED

    def state(self, now: float) -> CircuitState:
        if not self.opening.opened_at:
            return CircuitState.CLOSED
        return CircuitState.OPEN if now < self.opening.until else CircuitState.HALF_OPEN

    def admits(self, now: float) -> bool:
        if not self.opening.opened_at:
            return True
        return now >= self.opening.until and not self._trying

    def begin(self, now: float) -> bool:
        """Whether this call is the one that tries a half-open circuit; it has to say how that ended."""
        if self.state(now) is CircuitState.HALF_OPEN and not self._trying:
            self._trying = True
            return True
        return False

    def give_up(self) -> None:
        """The call that tried ended without telling anything."""
        self._trying = False

    def succeeded(self, now: float, *, was_trial: bool) -> bool:
        """Whether others should hear of it."""
        self.heard(now, 1, 0)
        if was_trial:
            self._trying = False
        if self.state(now) is not CircuitState.HALF_OPEN:
            return False
        successes = self.opening.successes + 1
        is_enough = successes >= self._conf.success_threshold
        self._say(
            Opening(now) if is_enough else msgspec.structs.replace(self.opening, said_at=now, successes=successes)
        )
        return True

    def failed(self, now: float, reason: str, *, was_trial: bool) -> bool:
        """Whether others should hear that it opened."""
        self.heard(now, 1, 1)
        if was_trial:
            self._trying = False
        state = self.state(now)
        if state is CircuitState.OPEN or (state is CircuitState.CLOSED and not self._is_enough(now)):
            return False
        opened_at = self.opening.opened_at or now
        self._say(Opening(now, opened_at, now + self._conf.open_seconds, 0, reason))
        return True

    def heard(self, now: float, calls: int, failures: int) -> None:
        """Of calls that were made, here or in another process."""
        self._in_a_row = failures if calls > failures else self._in_a_row + failures
        slot = int(now // SLOT_SECONDS)
        if not self._slots or self._slots[-1][0] < slot:
            self._slots.append([slot, 0, 0])
        self._slots[-1][1] += calls
        self._slots[-1][2] += failures
        while self._slots[0][0] <= slot - WINDOW_SECONDS // SLOT_SECONDS:
            self._slots.popleft()

    def told(self, opening: Opening) -> None:
        """By another process."""
        if opening.said_at > self.opening.said_at:
            self._say(opening)

    def counts(self, now: float) -> tuple[int, int]:
        """Calls and failures of the last minute."""
        oldest = int(now // SLOT_SECONDS) - WINDOW_SECONDS // SLOT_SECONDS
        recent = [slot for slot in self._slots if slot[0] > oldest]
        return sum(slot[1] for slot in recent), sum(slot[2] for slot in recent)

    def _is_enough(self, now: float) -> bool:
        if self._in_a_row >= self._conf.failure_threshold:
            return True
        calls, failures = self.counts(now)
        return calls >= self._conf.volume_threshold and failures * 100 >= calls * self._conf.error_percentage

    def _say(self, opening: Opening) -> None:
        if self.opening.opened_at and not opening.opened_at:
            self._slots.clear()
            self._in_a_row = 0
        self.opening = opening
