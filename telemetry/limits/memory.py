"""The limits of one process, in its memory: for an installation without Redis, and while Redis is away."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from uuid import UUID

from telemetry.limits.meters import LEASE_MS, Dimension, Meter
from telemetry.limits.state import FORMAT, MeterState, State
from telemetry.limits.store import Denied, Granted, Reply, Seed, Settlement, Unknown, Use, Want
from telemetry.limits.windows import Window

RECENT_MS = 120_000
SWEEP_MS = 60_000
"""How often meters are looked through for those that count nothing any more."""
KEPT_MS = 3_600_000
"""How long a budget's meter is kept unused where the record can say it again."""
METERS_MAX = 200_000
"""Names of users and sessions come from outside. Beyond it those go that were not used for longest."""
SOON_MS = 1000
"""When to try again where only running requests hold what is wanted."""


_SOMEBODY = UUID(int=0)
"""Holds what others hold, where it is not told who."""


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class Leases:
    """What running requests hold of one meter, by the id of the request."""

    __slots__ = ("_ends_at_ms", "held", "total")

    def __init__(self) -> None:
        self.held: dict[UUID, int] = {}
        self._ends_at_ms: dict[UUID, int] = {}
        """In the order in which they end: every lease is as long as any other."""
        self.total = 0

    def expire(self, now_ms: int) -> None:
        while self._ends_at_ms:
            request_id, ends_at_ms = next(iter(self._ends_at_ms.items()))
            if ends_at_ms > now_ms:
                return
            self.release(request_id)

    def hold(self, request_id: UUID, amount: int, now_ms: int) -> None:
        self.release(request_id)
        self.held[request_id] = amount
        self._ends_at_ms[request_id] = now_ms + LEASE_MS
        self.total += amount

    def release(self, request_id: UUID) -> None:
        self.total -= self.held.pop(request_id, 0)
        self._ends_at_ms.pop(request_id, None)

    def __bool__(self) -> bool:
        return bool(self.held)


class Purse:
    """A period of a budget."""

    __slots__ = ("leases", "recent", "recent_ids", "spent")

    def __init__(self) -> None:
        self.spent: int | None = None
        """In units; None: not known."""
        self.leases = Leases()
        self.recent: deque[tuple[int, UUID, int]] = deque()
        """When, which exchange, and what it cost."""
        self.recent_ids: set[UUID] = set()

    def expire(self, now_ms: int) -> None:
        self.leases.expire(now_ms)
        while self.recent and self.recent[0][0] <= now_ms - RECENT_MS:
            self.recent_ids.discard(self.recent.popleft()[1])

    def pay(self, request_id: UUID, cost: int, now_ms: int) -> None:
        self.leases.release(request_id)
        if request_id in self.recent_ids:
            return
        self.recent.append((now_ms, request_id, cost))
        self.recent_ids.add(request_id)
        if self.spent is not None:
            self.spent += cost

    @property
    def taken(self) -> int:
        return (self.spent or 0) + self.leases.total


class MemoryStore:
    is_shared = False

    def __init__(self, now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._now_ms = now_ms
        self._windows: dict[str, Window] = {}
        self._places: dict[str, Leases] = {}
        self._purses: dict[str, Purse] = {}
        self._seen: dict[str, tuple[Meter, int]] = {}
        """When each meter was last used, the one longest ago first."""
        self._unverified: dict[str, Meter] = {}
        self._swept_at_ms = 0
        self.changes = 0
        """Grows whenever something is counted."""

    async def reserve(self, want: Want) -> Reply:
        return self.reserve_now(want)

    def reserve_now(self, want: Want) -> Reply:
        now_ms = self._now_ms()
        if now_ms - self._swept_at_ms > SWEEP_MS:
            self._sweep(now_ms)
        unknown = [meter for meter in want.meters if self._is_unknown(meter)]
        if unknown:
            return Unknown(tuple(unknown))
        for index, (meter, amount) in enumerate(zip(want.meters, want.amounts, strict=True)):
            if (denied := self._denied(index, meter, amount, now_ms)) is not None:
                return denied
        self.changes += 1
        used = [
            self._take(meter, amount, want.id, now_ms) for meter, amount in zip(want.meters, want.amounts, strict=True)
        ]
        return Granted(now_ms, tuple(used))

    def settle(self, settlement: Settlement) -> None:
        want, now_ms = settlement.want, self._now_ms()
        self.changes += 1
        for meter, asked, used in zip(want.meters, want.amounts, settlement.used, strict=True):
            if meter.is_window:
                self._correct(meter, used - asked, settlement.granted_at_ms, now_ms)
            elif meter.dimension is Dimension.CONCURRENT:
                self._places_of(meter).release(want.id)
            else:
                self._purse(meter).pay(want.id, used, now_ms)
                self._saw(meter, now_ms)

    async def renew(self, running: Sequence[Want]) -> None:
        self.renew_now(running)

    def renew_now(self, running: Sequence[Want]) -> None:
        now_ms = self._now_ms()
        self.changes += len(running)
        for want in running:
            for meter, amount in zip(want.meters, want.amounts, strict=True):
                if not meter.is_window:
                    self._leases(meter).hold(want.id, amount, now_ms)

    def begin_anew(self, running: Sequence[Want]) -> None:
        """After another store has counted for a while: its windows go on, what is spent has to be said again."""
        self._places.clear()
        self._purses.clear()
        self.renew_now(running)

    async def recent(self, meter: Meter) -> dict[UUID, int]:
        return self.recent_now(meter)

    def recent_now(self, meter: Meter) -> dict[UUID, int]:
        purse = self._purse(meter)
        purse.expire(self._now_ms())
        return {request_id: cost for _, request_id, cost in purse.recent}

    async def claim(self, meter: Meter, seconds: float) -> bool:
        return True

    async def seed(self, seeds: Iterable[Seed]) -> None:
        self.seed_now(seeds)

    def seed_now(self, seeds: Iterable[Seed]) -> None:
        for seed in seeds:
            self.changes += 1
            purse = self._purse(seed.meter)
            missing = sum(cost for _, request_id, cost in purse.recent if request_id not in seed.included)
            purse.spent = seed.spent + missing

    def unverified(self) -> list[Meter]:
        found = list(self._unverified.values())
        self._unverified.clear()
        return found

    async def read(self, meters: Sequence[Meter]) -> list[Use]:
        return self.read_now(meters)

    def read_now(self, meters: Sequence[Meter]) -> list[Use]:
        now_ms = self._now_ms()
        return [self._use(meter, now_ms) for meter in meters]

    # --- Kept over a restart, and shown to others -----------------------------------------------------------------

    def state(self, most: int) -> State:
        """Of the meters that were used last."""
        now_ms = self._now_ms()
        meters = [self._seen[key][0] for key in islice(reversed(self._seen), most)]
        return State(FORMAT, now_ms, [self._state_of(meter, now_ms) for meter in meters])

    def restore(self, state: State, *, with_running: bool = False) -> None:
        """Windows only: what ran has ended with its process, and money is for the record to say. *with_running*: all of
        it, to be looked at."""
        for each in reversed(state.meters):
            meter = Meter(key=each.key, dimension=each.dimension, limit=0, window_ms=each.window_ms, scope="", label="")
            if meter.is_window and each.slots:
                self._window(meter, state.at_ms).restore(each.slots)
            elif with_running and not meter.is_window:
                self._leases(meter).hold(_SOMEBODY, each.held, state.at_ms)
                if meter.dimension is Dimension.MONEY:
                    self._purse(meter).spent = each.spent

    def _state_of(self, meter: Meter, now_ms: int) -> MeterState:
        if meter.is_window:
            slots = dict(self._window(meter, now_ms).slots)
            return MeterState(meter.key, meter.dimension, meter.window_ms, slots, None, 0)
        leases = self._leases(meter)
        leases.expire(now_ms)
        spent = self._purse(meter).spent if meter.dimension is Dimension.MONEY else None
        return MeterState(meter.key, meter.dimension, 0, {}, spent, leases.total)

    # --- One meter at a time ------------------------------------------------------------------------------------

    def _denied(self, index: int, meter: Meter, amount: int, now_ms: int) -> Denied | None:
        if meter.is_window:
            window = self._window(meter, now_ms)
            room = meter.limit - (amount if meter.dimension is Dimension.REQUESTS else 1)
            if window.total <= room:
                return None
            return Denied(now_ms, index, window.total, 0, window.frees_at_slot(room) * meter.slot_ms - now_ms)
        leases = self._leases(meter)
        leases.expire(now_ms)
        if meter.dimension is Dimension.CONCURRENT:
            is_full = leases.total + amount > meter.limit
            return Denied(now_ms, index, leases.total, leases.total, SOON_MS) if is_full else None
        purse = self._purse(meter)
        if purse.taken < meter.limit:
            return None
        return Denied(now_ms, index, purse.taken, leases.total, SOON_MS if (purse.spent or 0) < meter.limit else 0)

    def _take(self, meter: Meter, amount: int, request_id: UUID, now_ms: int) -> int:
        self._saw(meter, now_ms)
        if meter.is_window:
            window = self._window(meter, now_ms)
            window.add(amount)
            return window.total
        leases = self._leases(meter)
        leases.hold(request_id, amount, now_ms)
        return leases.total if meter.dimension is Dimension.CONCURRENT else self._purse(meter).taken

    def _correct(self, meter: Meter, change: int, granted_at_ms: int, now_ms: int) -> None:
        """What a request used more than it asked for counts from now on; what it used less is given back where it
        was taken."""
        window = self._window(meter, now_ms)
        window.add(change, None if change > 0 else granted_at_ms // meter.slot_ms)
        self._saw(meter, now_ms)  # it may have run for longer than an unused window is kept

    def _use(self, meter: Meter, now_ms: int) -> Use:
        if meter.key not in self._seen:  # whoever looks leaves no trace
            return Use(meter, 0, is_known=meter.account is None or meter.is_lazy)
        if meter.is_window:
            window = self._window(meter, now_ms)
            frees_in_ms = window.frees_at_slot(meter.limit - 1) * meter.slot_ms - now_ms
            return Use(meter, window.total, frees_in_ms=max(0, frees_in_ms) if window.total >= meter.limit else 0)
        leases = self._leases(meter)
        leases.expire(now_ms)
        if meter.dimension is Dimension.CONCURRENT:
            return Use(meter, leases.total, leases.total)
        purse = self._purse(meter)
        return Use(meter, purse.taken, leases.total, is_known=purse.spent is not None)

    def _is_unknown(self, meter: Meter) -> bool:
        return meter.dimension is Dimension.MONEY and self._purse(meter).spent is None

    def _window(self, meter: Meter, now_ms: int) -> Window:
        window = self._windows.get(meter.key)
        if window is None:
            window = self._windows[meter.key] = Window()
            self._saw(meter, now_ms)
        window.advance(now_ms // meter.slot_ms)
        return window

    def _leases(self, meter: Meter) -> Leases:
        return self._places_of(meter) if meter.dimension is Dimension.CONCURRENT else self._purse(meter).leases

    def _places_of(self, meter: Meter) -> Leases:
        places = self._places.get(meter.key)
        if places is None:
            places = self._places[meter.key] = Leases()
            self._saw(meter, self._now_ms())
        return places

    def _purse(self, meter: Meter) -> Purse:
        purse = self._purses.get(meter.key)
        if purse is None:
            purse = self._purses[meter.key] = Purse()
            self._saw(meter, self._now_ms())
            if meter.is_lazy:
                purse.spent = 0
                self._unverified[meter.key] = meter
        return purse

    # --- Tidying ------------------------------------------------------------------------------------------------

    def _saw(self, meter: Meter, now_ms: int) -> None:
        self._seen.pop(meter.key, None)
        self._seen[meter.key] = (meter, now_ms)

    def _sweep(self, now_ms: int) -> None:
        self._swept_at_ms = now_ms
        unused = [key for key, (meter, seen_ms) in self._seen.items() if now_ms - seen_ms > _kept_ms(meter)]
        beyond = len(self._seen) - len(unused) - METERS_MAX
        for key in [*unused, *(list(self._seen)[: max(0, beyond)])]:
            if not self._places.get(key) and not ((purse := self._purses.get(key)) and purse.leases):
                for kept in (self._seen, self._windows, self._places, self._purses, self._unverified):
                    kept.pop(key, None)


def _kept_ms(meter: Meter) -> int:
    return 2 * meter.window_ms if meter.is_window else KEPT_MS
