"""Waiting for room in a limit instead of a refusal: in fair lines, for as long as the client key may.

There is a line for each meter that is full, such as the requests per minute of a credential: who wants the same stands
in the same line, and nobody waits behind somebody who waits for something else. In a line the requests of people go
before those of background work; within these, keys take turns by their weights; and of one key the first comes first.
Only the head of a line asks for room: when it is expected, when a request of this process ends, and now and then. Lines
are those of one process; what they wait for is shared.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

from proxy.admission import Admission, Asker
from proxy.errors import LimitReached, ProxyError
from telemetry.limits.store import Want
from telemetry.metrics.waiting import WaitingMetrics

POLL_SECONDS = 1.0
"""How long the head of a line sleeps at most: room may be made by other processes."""
LEAST_SECONDS = 0.01
Try = Callable[[], Awaitable[Admission]]
OnWait = Callable[[], Awaitable[None]]


async def nothing() -> None:
    pass


class Place:
    """Of one request in a line."""

    __slots__ = ("asker", "begun_at", "reached", "start", "tag", "wake")

    def __init__(self, asker: Asker, reached: LimitReached) -> None:
        self.asker = asker
        self.reached = reached
        self.begun_at = time.monotonic()
        self.wake = asyncio.Event()
        self.start = 0.0
        self.tag: tuple[bool, float, int] = (False, 0.0, 0)
        """Who has the smallest is the head of the line."""

    @property
    def waited_ms(self) -> int:
        return round((time.monotonic() - self.begun_at) * 1000)


class Line:
    """Who waits for one meter: weighted fair queueing by start tags."""

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._now = 0.0
        """Of the line's own clock, which a served request moves on."""
        self._next: dict[UUID, float] = {}
        """When the next request of a key is due, on that clock."""
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._places)

    def enter(self, place: Place) -> None:
        key = place.asker.key
        place.start = max(self._now, self._next.get(key.id, 0.0))
        self._next[key.id] = place.start + 1 / key.weight
        place.tag = (place.asker.is_background, place.start, next(self._numbers))
        self._places.append(place)
        self.wake_head()

    def leave(self, place: Place, *, served: bool) -> None:
        self._places.remove(place)
        key = place.asker.key
        if served:
            self._now = max(self._now, place.start)
        else:
            self._next[key.id] -= 1 / key.weight  # it has had nothing
        self.wake_head()

    def is_head(self, place: Place) -> bool:
        return self._head() is place

    def is_ahead_of(self, asker: Asker) -> bool:
        """Whether somebody here goes before one who comes now."""
        return any(asker.is_background or not place.asker.is_background for place in self._places)

    def wake_head(self) -> None:
        if self._places:
            self._head().wake.set()

    def _head(self) -> Place:
        return min(self._places, key=lambda place: place.tag)


class WaitingRoom:
    def __init__(self, max_waiting: int, metrics: WaitingMetrics) -> None:
        """*max_waiting*: requests that wait at once in this process; who comes then is refused."""
        self._max_waiting = max_waiting
        self._metrics = metrics
        self._lines: dict[str, Line] = {}
        self.waiting = 0

    def barrier(self, wanted: Want, asker: Asker) -> LimitReached | None:
        """Why one who comes now may not even ask: others have waited for the same for longer."""
        if not self._lines:
            return None
        for meter in wanted.meters:
            line = self._lines.get(meter.key)
            if line is not None and line.is_ahead_of(asker):
                return LimitReached(
                    f"A limit of Nexus is reached: others wait for the {meter.dimension.words} of {meter.label}.",
                    meter.name,
                    1,
                    meter.key,
                )
        return None

    async def wait(self, asker: Asker, wanted: Want, reached: LimitReached, try_: Try, on_wait: OnWait) -> Admission:
        """Raises LimitReached when the key's time is over, or at once where it would be in vain; what `try_` raises
        that is something else goes on."""
        allowed = asker.key.max_wait_seconds
        if allowed <= 0 or reached.retry_after_seconds > allowed or self.waiting >= self._max_waiting:
            raise reached
        place = Place(asker, reached)
        self.waiting += 1
        self._metrics.began(asker.priority)
        ending = "left"
        try:
            admission = await self._served(place, try_, on_wait, place.begun_at + allowed)
            ending, admission.waited_ms = "admitted", place.waited_ms
            return admission
        except ProxyError as refused:
            ending, refused.waited_ms = "refused", place.waited_ms
            refused.message += f" This request has waited for {round(place.waited_ms / 1000)} s."
            raise
        finally:
            self.waiting -= 1
            self._metrics.ended(asker.priority, ending, place.waited_ms / 1000)

    def something_ended(self, wanted: Want) -> None:
        """There may be room again for those who wait for the same."""
        if self._lines:
            for meter in wanted.meters:
                if (line := self._lines.get(meter.key)) is not None:
                    line.wake_head()

    async def _served(self, place: Place, try_: Try, on_wait: OnWait, deadline: float) -> Admission:
        while True:
            key = place.reached.meter_key
            line = self._lines.setdefault(key, Line())
            line.enter(place)
            served = False
            try:
                admission = await self._served_in(line, place, try_, on_wait, deadline)
                served = True
                return admission
            except _AnotherLine:
                continue
            finally:
                line.leave(place, served=served)
                if not line:
                    self._lines.pop(key, None)

    async def _served_in(self, line: Line, place: Place, try_: Try, on_wait: OnWait, deadline: float) -> Admission:
        """Raises _AnotherLine where there is room here, and none elsewhere."""
        key = place.reached.meter_key
        while True:
            await self._sleep(line, place, on_wait, deadline)
            if time.monotonic() >= deadline:
                raise place.reached
            if not line.is_head(place):
                continue
            try:
                return await try_()
            except LimitReached as reached:
                place.reached = reached
            if time.monotonic() + place.reached.retry_after_seconds > deadline + 1:
                raise place.reached
            if place.reached.meter_key != key:
                raise _AnotherLine

    async def _sleep(self, line: Line, place: Place, on_wait: OnWait, deadline: float) -> None:
        """Until there is reason to look: it is the head's turn, something ended, or the time is over."""
        until = deadline
        if line.is_head(place):
            until = min(deadline, time.monotonic() + min(POLL_SECONDS, place.reached.retry_after_seconds) * _jitter())
        while (rest := until - time.monotonic()) > 0 and not place.wake.is_set():
            try:
                async with asyncio.timeout(max(LEAST_SECONDS, min(rest, POLL_SECONDS))):
                    await place.wake.wait()
            except TimeoutError:
                await on_wait()
        place.wake.clear()


class _AnotherLine(Exception):
    pass


def _jitter() -> float:
    return random.uniform(0.5, 1.0)  # noqa: S311 (no secret)
