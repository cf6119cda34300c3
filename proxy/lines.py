"""Who waits for room in one limit, and whose turn it is. Knows no clock, and asks nobody for room."""

import asyncio
import bisect
import contextlib
import math
from uuid import UUID

from proxy.admission import Asker
from proxy.errors import LimitReached
from telemetry.limits.store import Want

NEVER = math.inf


class Place:
    """Of one request, in one line at a time. Times are those of the event loop's clock."""

    __slots__ = ("asker", "begun_at", "deadline", "number", "say_at", "wake", "wanted")

    def __init__(self, asker: Asker, wanted: Want, number: int, begun_at: float, say_at: float = NEVER) -> None:
        self.asker = asker
        self.wanted = wanted
        self.number = number
        """Who came first has the smallest, in whatever line it stands."""
        self.begun_at = begun_at
        self.deadline = begun_at + asker.key.max_wait_seconds
        self.say_at = say_at
        """When its client is to hear that it waits."""
        self.wake = asyncio.Event()

    async def sleep(self, until: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self.wake.wait()
        self.wake.clear()


class Turns:
    """Keys take turns by their weights, and of one key the first comes first (stride scheduling): keys that always wait
    are served in proportion to their weights, to within one request each."""

    def __init__(self) -> None:
        self._places: dict[UUID, list[Place]] = {}
        """By key, those who came first before the others."""
        self._due: dict[UUID, float] = {}
        """When each key's next turn is, on a clock of its own: a request of a key moves it on by 1 / weight."""
        self._clock = 0.0
        self.head: Place | None = None

    def enter(self, place: Place) -> None:
        key_id = place.asker.key.id
        if key_id not in self._places:
            self._places[key_id] = []
            self._due[key_id] = max(self._clock, self._due.get(key_id, 0.0))  # who was away has saved up nothing
        bisect.insort(self._places[key_id], place, key=lambda each: each.number)
        if self.head is None or self._turn(place) < self._turn(self.head):
            self.head = place

    def leave(self, place: Place) -> None:
        key_id = place.asker.key.id
        self._places[key_id].remove(place)
        if not self._places[key_id]:
            del self._places[key_id]
        self._choose()

    def charge(self, place: Place) -> None:
        """It has had its turn."""
        key = place.asker.key
        self._clock = max(self._clock, self._due[key.id])
        self._due[key.id] += 1 / key.weight

    def wake_all(self) -> None:
        for places in self._places.values():
            for place in places:
                place.wake.set()

    def _choose(self) -> None:
        self.head = min((places[0] for places in self._places.values()), key=self._turn, default=None)

    def _turn(self, place: Place) -> tuple[float, int]:
        return self._due[place.asker.key.id], place.number


class Line:
    """Who waits for one meter: people, and behind them background work."""

    def __init__(self, reached: LimitReached, look_at: float) -> None:
        self.reached = reached
        """What the last who asked was told."""
        self.look_at = look_at
        """When its head may ask; NEVER: somebody is asking already."""
        self._people, self._background = Turns(), Turns()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def head(self) -> Place | None:
        return self._people.head or self._background.head

    def enter(self, place: Place) -> None:
        self._turns(place).enter(place)
        self._size += 1

    def leave(self, place: Place, now: float) -> None:
        """The next may ask at once, where that may help."""
        was_head = self.head is place
        self._turns(place).leave(place)
        self._size -= 1
        if was_head or self.look_at == NEVER:
            self.look_now(now)

    def charge(self, place: Place) -> None:
        """It was let in."""
        self._turns(place).charge(place)

    def is_ahead_of(self, asker: Asker, number: float) -> bool:
        """Whether somebody here comes before one who is no part of this line."""
        people, background = self._people.head, self._background.head
        if people is not None and (asker.is_background or people.number < number):
            return True
        return asker.is_background and background is not None and background.number < number

    def look_now(self, now: float) -> None:
        self.look_at = now
        self.wake_head()

    def look_later(self, reached: LimitReached, at: float) -> None:
        """There is no room, somebody has just heard."""
        self.reached = reached
        self.look_at = at
        self.wake_head()

    def wake_head(self) -> None:
        if (head := self.head) is not None:
            head.wake.set()

    def wake_all(self) -> None:
        for turns in (self._people, self._background):
            turns.wake_all()

    def _turns(self, place: Place) -> Turns:
        return self._background if place.asker.is_background else self._people
