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
from collections.abc import Awaitable, Callable

from proxy.admission import Admission, Asker
from proxy.conf import WaitConf
from proxy.errors import LimitReached, ProxyError, Stopping
from proxy.lines import NEVER, Line, Place
from telemetry.limits.meters import Dimension
from telemetry.limits.store import Want
from telemetry.metrics.waiting import WaitingMetrics

POLL_SECONDS = 1.0
"""How long the head of a line sleeps at most: room may be made by other processes."""
LEAST_SECONDS = 0.01
Try = Callable[[], Awaitable[Admission]]
Say = Callable[[], Awaitable[None]]


class WaitingRoom:
    def __init__(self, conf: WaitConf, metrics: WaitingMetrics) -> None:
        self._conf = conf
        self._metrics = metrics
        self._lines: dict[str, Line] = {}
        self._numbers = itertools.count()
        self._is_stopping = False
        self.waiting = 0

    def ahead(
        self, wanted: Want, asker: Asker, number: float = NEVER, besides: Line | None = None
    ) -> LimitReached | None:
        """What others wait for who came before *number* and want the same: it is theirs first."""
        if not self._lines:
            return None
        for meter in wanted.meters:
            line = self._lines.get(meter.key)
            if line is not None and line is not besides and line.is_ahead_of(asker, number):
                return line.reached.again()
        return None

    async def wait(self, asker: Asker, wanted: Want, reached: LimitReached, try_: Try, say: Say | None) -> Admission:
        """Raises *reached*, or what it has become, when the key's time is over, and at once where it would be in vain;
        Stopping; what `try_` raises that is something else. *say* tells the client now and then that it waits."""
        allowed = asker.key.max_wait_seconds if asker.may_wait else 0
        if allowed <= 0 or reached.frees_in_seconds > allowed or self.waiting >= self._conf.max_waiting:
            raise reached
        now = _now()
        say_at = NEVER if say is None else now + self._conf.keepalive_after_seconds
        place = Place(asker, wanted, next(self._numbers), now, say_at)
        self.waiting += 1
        self._metrics.began(asker.priority)
        ending = "left"
        try:
            admission = await self._served(place, reached, try_, say)
            ending, admission.waited_seconds = "admitted", _now() - place.begun_at
            return admission
        except ProxyError as refused:
            ending = "stopped" if isinstance(refused, Stopping) else "refused"
            refused.waited_seconds = _now() - place.begun_at
            refused.message += f" This request has waited for {round(refused.waited_seconds)} s."
            raise
        finally:
            self.waiting -= 1
            self._metrics.ended(asker.priority, ending, _now() - place.begun_at)

    def something_ended(self, wanted: Want) -> None:
        """There may be room again for those who wait for the same; but not among requests, which stay counted."""
        if self._lines:
            for meter in wanted.meters:
                line = self._lines.get(meter.key)
                if line is not None and meter.dimension is not Dimension.REQUESTS:
                    line.look_now(_now())

    def stop(self) -> None:
        """Who waits is told at once to try elsewhere, and so is who would."""
        if self._is_stopping:
            return
        self._is_stopping = True
        for line in self._lines.values():
            line.wake_all()

    async def _served(self, place: Place, reached: LimitReached, try_: Try, say: Say | None) -> Admission:
        """In one line after the other, until nothing is full any more."""
        while True:
            key = reached.meter_key
            line = self._enter(place, reached)
            try:
                found = await self._served_in(line, place, try_, say, may_yield=not reached.is_hearsay)
            finally:
                line.leave(place, _now())
                if not line:
                    del self._lines[key]
            if isinstance(found, Admission):
                return found
            reached = found
            if reached.is_hearsay:
                await asyncio.sleep(0)  # nobody may go round in the lines while the process stands still

    def _enter(self, place: Place, reached: LimitReached) -> Line:
        line = self._lines.get(reached.meter_key)
        if line is None:
            line = self._lines[reached.meter_key] = Line(reached, _now() if reached.is_hearsay else _next_look(reached))
        elif not reached.is_hearsay and line.look_at != NEVER:
            line.look_later(reached, _next_look(reached))
        line.enter(place)
        return line

    async def _served_in(
        self, line: Line, place: Place, try_: Try, say: Say | None, *, may_yield: bool
    ) -> Admission | LimitReached:
        """What it was let in with, or what else is full, or is somebody else's first: it has to wait for that."""
        while True:
            await self._turn(line, place, say)
            if may_yield and (ahead := self.ahead(place.wanted, place.asker, place.number, besides=line)) is not None:
                return ahead
            line.look_at = NEVER
            try:
                admission = await try_()
            except LimitReached as reached:
                if _now() + reached.frees_in_seconds > place.deadline:
                    raise
                if reached.meter_key != line.reached.meter_key:
                    return reached
                line.look_later(reached, _next_look(reached) if line.look_at == NEVER else line.look_at)
            else:
                line.charge(place)
                return admission

    async def _turn(self, line: Line, place: Place, say: Say | None) -> None:
        """Until it may ask. Raises LimitReached when its time is over, and Stopping."""
        while True:
            now = _now()
            if self._is_stopping:
                raise Stopping("Nexus is being stopped. Try again.")
            if now >= place.deadline:
                raise line.reached.again()
            if say is not None and now >= place.say_at:
                place.say_at = now + self._conf.keepalive_seconds
                await say()
                continue
            is_head = line.head is place
            if is_head and now >= line.look_at:
                return
            await place.sleep(min(place.deadline, place.say_at, line.look_at if is_head else NEVER))


def _now() -> float:
    return asyncio.get_running_loop().time()


def _next_look(reached: LimitReached) -> float:
    """When room is expected; soon, where that is not known. Processes that wait for the same do not ask in step."""
    poll_seconds = POLL_SECONDS * random.uniform(0.5, 1.0)  # noqa: S311 (no secret)
    return _now() + max(LEAST_SECONDS, min(poll_seconds, reached.frees_in_seconds or poll_seconds))
