"""The rules of limits, in the memory of one process."""

from datetime import UTC, datetime

from accounts.ids import new_id
from telemetry.limits.memory import MemoryStore
from telemetry.limits.meters import LEASE_MS, Account, Dimension, Meter
from telemetry.limits.store import Denied, Granted, Seed, Settlement, Unknown, Want

MINUTE_MS = 60_000


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


def window(dimension: Dimension, limit: int) -> Meter:
    return Meter(key=dimension, dimension=dimension, limit=limit, window_ms=MINUTE_MS, scope="key", label="key Ada")


def want(meter: Meter, amount: int = 1) -> Want:
    return Want(new_id(), (meter,), (amount,))


def money(limit: int) -> Meter:
    account = Account(budget_id=new_id(), starts_at=datetime.now(UTC), ends_at=None)
    return Meter(key="money", dimension=Dimension.MONEY, limit=limit, scope="key", label="Monthly", account=account)


def test_a_window_admits_its_limit_and_says_when_there_is_room_again() -> None:
    store = MemoryStore(clock := Clock())
    meter = window(Dimension.REQUESTS, 2)
    assert isinstance(store.reserve_now(want(meter)), Granted)
    clock.now_ms += 10_000
    assert isinstance(store.reserve_now(want(meter)), Granted)
    denied = store.reserve_now(want(meter))
    assert isinstance(denied, Denied)
    assert 50_000 < denied.frees_in_ms <= 51_000
    clock.now_ms += denied.frees_in_ms - 1
    assert isinstance(store.reserve_now(want(meter)), Denied)
    clock.now_ms += 1
    assert isinstance(store.reserve_now(want(meter)), Granted)


def test_what_a_request_used_replaces_what_it_asked_for() -> None:
    store = MemoryStore(Clock())
    meter = window(Dimension.INPUT_TOKENS, 1000)
    first = want(meter, 600)
    granted = store.reserve_now(first)
    assert isinstance(granted, Granted)
    store.settle(Settlement(first, granted.at_ms, (100,)))
    assert [use.used for use in store.read_now([meter])] == [100]


def test_a_place_is_free_again_when_its_request_ends_or_its_process_is_silent() -> None:
    store = MemoryStore(clock := Clock())
    meter = Meter(key="places", dimension=Dimension.CONCURRENT, limit=1, scope="key", label="key Ada")
    first = want(meter)
    granted = store.reserve_now(first)
    assert isinstance(granted, Granted)
    assert isinstance(store.reserve_now(want(meter)), Denied)
    store.settle(Settlement(first, granted.at_ms, (0,)))
    assert isinstance(store.reserve_now(want(meter)), Granted)
    clock.now_ms += LEASE_MS
    assert isinstance(store.reserve_now(want(meter)), Granted)


def test_a_budget_admits_while_there_is_room_and_is_asked_of_the_record_first() -> None:
    store = MemoryStore(Clock())
    meter = money(100)
    assert store.reserve_now(want(meter, 60)) == Unknown((meter,))
    store.seed_now([Seed(meter, 10, frozenset())])
    first, second = want(meter, 60), want(meter, 60)
    granted = store.reserve_now(first)
    assert isinstance(granted, Granted)
    assert isinstance(store.reserve_now(second), Granted)
    denied = store.reserve_now(want(meter, 60))
    assert isinstance(denied, Denied)
    assert (denied.used, denied.held) == (130, 120)
    store.settle(Settlement(first, granted.at_ms, (5,)))
    assert isinstance(store.reserve_now(want(meter, 60)), Granted)


def test_a_settlement_that_comes_twice_costs_once() -> None:
    store = MemoryStore(Clock())
    meter = money(100)
    store.seed_now([Seed(meter, 0, frozenset())])
    first = want(meter, 60)
    store.reserve_now(first)
    for _ in range(2):
        store.settle(Settlement(first, 0, (7,)))
    assert [use.used for use in store.read_now([meter])] == [7]


def test_what_is_recent_and_not_in_the_record_yet_counts_when_the_record_is_asked() -> None:
    store = MemoryStore(Clock())
    meter = money(100)
    store.seed_now([Seed(meter, 0, frozenset())])
    stored, waiting = want(meter, 60), want(meter, 60)
    for each, cost in ((stored, 7), (waiting, 5)):
        store.settle(Settlement(each, 0, (cost,)))
    assert store.recent_now(meter) == {stored.id: 7, waiting.id: 5}
    store.seed_now([Seed(meter, 20, frozenset({stored.id}))])
    assert [use.used for use in store.read_now([meter])] == [25]


def test_what_a_long_request_used_in_the_end_counts_for_a_whole_window() -> None:
    store = MemoryStore(clock := Clock())
    meter = window(Dimension.OUTPUT_TOKENS, 500)
    first = want(meter, 0)
    granted = store.reserve_now(first)
    assert isinstance(granted, Granted)
    clock.now_ms += 2 * MINUTE_MS - 1
    store.settle(Settlement(first, granted.at_ms, (500,)))
    clock.now_ms += 2
    assert isinstance(store.reserve_now(want(meter, 0)), Denied)
