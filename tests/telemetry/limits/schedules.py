"""Random days of a store of limits, played to it and to the model at once: both must say the same at each step."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from hypothesis import strategies as st

from accounts.ids import new_id
from telemetry.limits.meters import LEASE_MS, Account, Dimension, Meter
from telemetry.limits.store import Granted, Seed, Settlement, Store, Want
from tests.telemetry.limits.model import Model

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
STORED_AFTER_MS = 60_000
"""At the latest so long after it ended an exchange is in the record. (The stores remember two minutes.)"""
ASKING_MS = 30_000
"""The longest that the record may take for an answer."""
PAST_2_53 = 2**53 + 1
SPENT_BEFORE = (7, 3 * PAST_2_53, 90)
"""Of each budget, before its first request here."""


def meters_of_a_store() -> list[Meter]:
    """Some of each kind, under keys that no store has heard of."""
    return [
        _window(Dimension.REQUESTS, 3, MINUTE_MS),
        _window(Dimension.REQUESTS, 2, 1000),
        _window(Dimension.INPUT_TOKENS, 1000, MINUTE_MS),
        _window(Dimension.OUTPUT_TOKENS, 500, MINUTE_MS),
        _window(Dimension.TOKENS, 4000, HOUR_MS),
        _meter(Dimension.CONCURRENT, 2),
        budget_of(100),
        budget_of(40 * PAST_2_53),
        budget_of(100, is_lazy=True),
    ]


def _window(dimension: Dimension, limit: int, window_ms: int) -> Meter:
    return Meter(
        key=f"{new_id()}:{dimension}",
        dimension=dimension,
        limit=limit,
        window_ms=window_ms,
        scope="key",
        label="Ada",
    )


def _meter(dimension: Dimension, limit: int) -> Meter:
    return Meter(key=f"{new_id()}:{dimension}", dimension=dimension, limit=limit, scope="key", label="Ada")


def budget_of(limit: int, is_lazy: bool = False) -> Meter:
    account = Account(budget_id=new_id(), starts_at=datetime(2026, 11, 1, tzinfo=UTC), ends_at=None)
    return Meter(
        key=f"{account.budget_id}:money",
        dimension=Dimension.MONEY,
        limit=limit,
        scope="key",
        label="Monthly",
        account=account,
        is_lazy=is_lazy,
    )


class Asked(NamedTuple):
    seed: Seed
    at_ms: int


class Day:
    """One store and the model of it."""

    def __init__(self, store: Store, model: Model) -> None:
        self.store, self.model = store, model
        self.meters = meters_of_a_store()
        self.budgets = [meter for meter in self.meters if meter.account]
        self.spent_before = {meter.key: spent for meter, spent in zip(self.budgets, SPENT_BEFORE, strict=True)}
        self.running: list[tuple[Want, Granted]] = []
        self.settled: list[tuple[Settlement, int]] = []
        self.stored: set[UUID] = set()
        self.asked: list[Asked] = []
        self._bystander = _meter(Dimension.CONCURRENT, 1)

    def settle(self, settlement: Settlement) -> None:
        self.model.settle(settlement)
        self.store.settle(settlement)
        self.settled.append((settlement, self.model.now_ms))

    async def be_heard(self) -> None:
        """A settlement is not waited for: whatever is asked after it has an answer when it has arrived."""
        await self.store.read([self._bystander])

    async def read(self) -> None:
        for use, expected in zip(await self.store.read(self.meters), self.model.read(self.meters), strict=True):
            assert use == expected, f"{use} instead of {expected}"

    async def ask_record(self, meter: Meter, is_new_stored: bool) -> Seed:
        """What the record says now of a budget."""
        recent = await self.store.recent(meter)
        paid = {each.id: each.cost for each in self.model.payments(meter)}
        old = {each.id for each in self.model.payments(meter) if each.at_ms <= self.model.now_ms - STORED_AFTER_MS}
        assert recent.items() <= paid.items()
        assert paid.keys() - recent.keys() <= old
        self.stored |= old | (recent.keys() if is_new_stored else set())
        spent = sum(cost for request_id, cost in paid.items() if request_id in self.stored)
        return Seed(meter, self.spent_before[meter.key] + spent, frozenset(recent.keys() & self.stored))

    async def tell(self, seed: Seed) -> None:
        await self.store.seed([seed])
        self.model.spent_before[seed.meter.key] = self.spent_before[seed.meter.key]

    async def end(self) -> None:
        """With everything asked of the record once more, every counter is exact."""
        for meter in self.budgets:
            await self.tell(await self.ask_record(meter, is_new_stored=False))
        await self.read()


# --- What may happen --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reserve:
    which: tuple[int, ...]
    amount: int

    async def play(self, day: Day) -> None:
        meters = tuple(day.meters[index] for index in self.which)
        want = Want(new_id(), meters, tuple(_asked(meter, self.amount) for meter in meters))
        expected, reply = day.model.reserve(want), await day.store.reserve(want)
        assert reply == expected, f"{reply} instead of {expected}"
        if isinstance(reply, Granted):
            day.running.append((want, reply))


@dataclass(frozen=True)
class Settle:
    index: int
    amount: int

    async def play(self, day: Day) -> None:
        if day.running:
            want, granted = day.running.pop(self.index % len(day.running))
            used = tuple(_used(meter, self.amount) for meter in want.meters)
            day.settle(Settlement(want, granted.at_ms, used))


@dataclass(frozen=True)
class SettleAgain:
    """As a process does that does not know whether Redis heard it."""

    index: int

    async def play(self, day: Day) -> None:
        if day.settled:
            settlement, at_ms = day.settled[self.index % len(day.settled)]
            if day.model.now_ms - at_ms < STORED_AFTER_MS:
                day.settle(settlement)


@dataclass(frozen=True)
class SettleUnheard:
    """As where Redis has lost what it granted."""

    which: tuple[int, ...]
    amount: int

    async def play(self, day: Day) -> None:
        meters = tuple(day.meters[index] for index in self.which)
        want = Want(new_id(), meters, tuple(_asked(meter, 1) for meter in meters))
        used = tuple(_used(meter, self.amount) for meter in meters)
        day.settle(Settlement(want, day.model.now_ms, used))


@dataclass(frozen=True)
class Renew:
    async def play(self, day: Day) -> None:
        wants = [want for want, _ in day.running]
        day.model.renew(wants)
        await day.store.renew(wants)


@dataclass(frozen=True)
class Wait:
    ms: int

    async def play(self, day: Day) -> None:
        await day.be_heard()
        day.model.now_ms += self.ms


@dataclass(frozen=True)
class AskRecord:
    budget: int
    is_new_stored: bool

    async def play(self, day: Day) -> None:
        seed = await day.ask_record(day.budgets[self.budget], self.is_new_stored)
        day.asked.append(Asked(seed, day.model.now_ms))


@dataclass(frozen=True)
class Tell:
    async def play(self, day: Day) -> None:
        if day.asked:
            seed, at_ms = day.asked.pop(0)
            if day.model.now_ms - at_ms < ASKING_MS:
                await day.tell(seed)


@dataclass(frozen=True)
class Read:
    async def play(self, day: Day) -> None:
        await day.read()


Step = Reserve | Settle | SettleAgain | SettleUnheard | Renew | Wait | AskRecord | Tell | Read


def _asked(meter: Meter, amount: int) -> int:
    if meter.dimension in (Dimension.REQUESTS, Dimension.CONCURRENT):
        return 1
    return _scaled(meter, amount)


def _used(meter: Meter, amount: int) -> int:
    match meter.dimension:
        case Dimension.REQUESTS:
            return min(amount, 1)
        case Dimension.CONCURRENT:
            return 0
        case _:
            return _scaled(meter, amount)


def _scaled(meter: Meter, amount: int) -> int:
    return amount % 10 * PAST_2_53 if meter.limit > PAST_2_53 else amount


_some_meters = st.integers(0, 8).map(lambda index: (index,)) | st.lists(
    st.integers(0, 8), min_size=1, max_size=6, unique=True
).map(tuple)
_amounts = st.sampled_from([0, 1, 7, 30, 200, 999])
_waits = st.sampled_from([0, 1, 16, 17, 999, 1000, 1017, 8000, 24_999, 25_000, 31_000, 60_000, 61_000, 90_000])
_steps = st.one_of(
    st.builds(Reserve, _some_meters, _amounts),
    st.builds(Reserve, _some_meters, _amounts),
    st.builds(Settle, st.integers(0, 5), _amounts),
    st.builds(SettleAgain, st.integers(0, 5)),
    st.builds(SettleUnheard, _some_meters, _amounts),
    st.builds(Renew),
    st.builds(Wait, _waits | st.integers(0, 70_000)),
    st.builds(AskRecord, st.integers(0, 2), st.booleans()),
    st.builds(Tell),
    st.builds(Read),
)
schedules = st.lists(_steps, min_size=5, max_size=40)
"""Less than an hour altogether: so long every store remembers a budget's meter."""


LEASE_ENDS: list[Step] = [Reserve((5, 6), 1), Wait(LEASE_MS - 1), Read(), Wait(1), Read()]
PLACES_ARE_TAKEN: list[Step] = [Reserve((5,), 1), Reserve((5,), 1), Reserve((5,), 1), Settle(0, 0), Reserve((5,), 1)]


async def play(store: Store, model: Model, schedule: list[Step], seeded: bool) -> None:
    day = Day(store, model)
    if seeded:
        for meter in day.budgets:
            await day.tell(await day.ask_record(meter, is_new_stored=False))
    for step in schedule:
        await step.play(day)
    await day.end()
