"""Limits while Redis is away, and when it is back: with a real one that is stopped."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis import Redis

from accounts.ids import new_id
from telemetry.limits.fallback import FallbackStore
from telemetry.limits.memory import MemoryStore
from telemetry.limits.meters import Dimension, Meter
from telemetry.limits.script import PREFIX
from telemetry.limits.shared import REPLY_SECONDS, SharedStore
from telemetry.limits.store import Denied, Granted, Seed, Settlement, Want
from tests.services import RedisServer
from tests.telemetry.limits.schedules import budget_of
from tests.telemetry.limits.stores import running

pytestmark = pytest.mark.anyio


class Process:
    """What one web process counts with: it knows what runs, as the limiter does."""

    def __init__(self, redis: RedisServer) -> None:
        self.wants: dict[Any, Want] = {}
        self.shared_store = SharedStore(redis.url)
        self.store = FallbackStore(self.shared_store, MemoryStore(), lambda: list(self.wants.values()))

    async def begin(self, *meters: Meter) -> tuple[Want, Granted]:
        want = Want(new_id(), meters, tuple(10 if meter.account else 1 for meter in meters))
        granted = await self.store.reserve(want)
        assert isinstance(granted, Granted)
        self.wants[want.id] = want
        return want, granted

    def end(self, begun: tuple[Want, Granted], cost: int) -> None:
        want, granted = begun
        del self.wants[want.id]
        self.store.settle(Settlement(want, granted.at_ms, tuple(cost if meter.account else 1 for meter in want.meters)))

    async def verify(self, spent: dict[Any, int]) -> None:
        """As the seeding does with what the record says: of each exchange its cost."""
        for meter in self.store.unverified():
            included = (await self.store.recent(meter)).keys() & spent.keys()
            await self.store.seed([Seed(meter, sum(spent.values()), frozenset(included))])

    async def until(self, is_true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not is_true():  # noqa: ASYNC110 # what is looked at is not the test's
                await asyncio.sleep(0.02)

    async def until_shared(self) -> None:
        await self.until(lambda: self.store.is_shared)


@contextlib.asynccontextmanager
async def process(redis: RedisServer) -> AsyncIterator[Process]:
    one = Process(redis)
    async with running(one.store):
        yield one


def places(limit: int) -> Meter:
    return Meter(key=f"{new_id()}:places", dimension=Dimension.CONCURRENT, limit=limit, scope="all", label="all")


async def used(store: FallbackStore, *meters: Meter) -> list[tuple[int, int]]:
    return [(use.used, use.held) for use in await store.read(meters)]


async def test_limits_go_on_while_redis_is_away_and_are_shared_again_by_themselves(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    place, budget = places(2), budget_of(100)
    async with process(own_redis) as one:
        await one.store.seed([Seed(budget, 30, frozenset())])
        before = await one.begin(place, budget)
        own_redis.stop()
        during = await one.begin(place, budget)
        assert not one.store.is_shared
        assert isinstance(await one.store.reserve(Want(new_id(), (place,), (1,))), Denied)
        assert await used(one.store, place, budget) == [(2, 2), (50, 20)]
        one.end(during, 7)
        assert await used(one.store, place, budget) == [(1, 1), (47, 10)]
        own_redis.start()
        await one.until_shared()
        assert await used(one.store, place) == [(1, 1)]  # what began before is held again
        one.end(before, 5)
        await one.verify({"before": 30})  # none of these two is in the record yet
        assert await used(one.store, place, budget) == [(0, 0), (42, 0)]
        assert one.store.fallbacks == 1
    said = [record.getMessage() for record in caplog.records if record.name.startswith("telemetry.limits")]
    assert len(said) == 2
    assert "counts limits for itself" in said[0]
    assert "shared by all" in said[1]


async def test_a_second_absence_does_not_go_on_where_the_first_one_ended(own_redis: RedisServer) -> None:
    budget = budget_of(100)
    async with process(own_redis) as one:
        await one.store.seed([Seed(budget, 10, frozenset())])
        for spent in (10, 90):
            await one.store.seed([Seed(budget, spent, frozenset())])
            own_redis.stop()
            begun = await one.begin(budget)
            assert await used(one.store, budget) == [(spent + 10, 10)]
            one.end(begun, 0)
            own_redis.start()
            await one.until_shared()


async def test_nobody_waits_longer_than_once_for_a_redis_that_does_not_answer(own_redis: RedisServer) -> None:
    meter = places(10_000)
    async with process(own_redis) as one:
        await one.begin(meter)
        own_redis.signal(signal.SIGSTOP)
        waits = await asyncio.gather(*(_timed(one, meter, delay_seconds=each / 400) for each in range(600)))
        assert max(waits) < 2 * REPLY_SECONDS
        assert min(waits) < 0.05  # whoever comes later does not wait at all
        own_redis.signal(signal.SIGCONT)
        await one.until_shared()


async def _timed(one: Process, meter: Meter, delay_seconds: float) -> float:
    await asyncio.sleep(delay_seconds)
    started = time.perf_counter()
    await one.begin(meter)
    return time.perf_counter() - started


async def test_what_redis_has_lost_is_told_again_at_once(own_redis: RedisServer) -> None:
    place, budget = places(5), budget_of(100)
    async with process(own_redis) as one, process(own_redis) as other:
        await one.store.seed([Seed(budget, 30, frozenset())])
        mine, theirs = await one.begin(place, budget), await other.begin(place, budget)
        one.end(await one.begin(place, budget), 4)
        assert await used(one.store, place, budget) == [(2, 2), (54, 20)]
        with Redis.from_url(own_redis.url) as client:
            client.flushall()
        for each in (one, other):
            await each.store.read([place])  # any answer says it
        async with asyncio.timeout(0.5):  # not only at the next look, a second later
            while await used(one.store, place) != [(2, 2)]:  # noqa: ASYNC110 # what is looked at is in Redis
                await asyncio.sleep(0.01)
        assert one.store.is_shared
        await one.verify({"before": 30})
        assert await used(one.store, place, budget) == [(2, 2), (54, 20)]
        one.end(mine, 1)
        other.end(theirs, 2)
        await other.store.read([place])
        assert await used(one.store, place, budget) == [(0, 0), (37, 0)]


async def test_a_redis_that_only_reads_is_as_good_as_none(own_redis: RedisServer) -> None:
    meter = places(5)
    async with process(own_redis) as one:
        await one.begin(meter)
        with Redis.from_url(own_redis.url) as client:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
            await one.begin(meter)
            assert not one.store.is_shared
            looked = one.shared_store.calls
            await one.until(lambda: one.shared_store.calls > looked + 2)
            assert one.store.fallbacks == 1
            assert not one.store.is_shared
            client.execute_command("REPLICAOF", "NO", "ONE")
        await one.until_shared()


async def test_settlements_wait_for_a_redis_that_is_away_for_a_moment(own_redis: RedisServer) -> None:
    """They were not sent yet: nothing has to be guessed."""
    meter = places(5)
    async with process(own_redis) as one:
        begun = [await one.begin(meter) for _ in range(3)]
        own_redis.signal(signal.SIGSTOP)
        asking = asyncio.create_task(one.store.read([meter]))
        await asyncio.sleep(0.1)
        for each in begun:
            one.end(each, 0)
        await asking
        own_redis.signal(signal.SIGCONT)
        await one.until_shared()
        assert await used(one.store, meter) == [(0, 0)]
    with Redis.from_url(own_redis.url) as client:
        assert not client.exists(PREFIX + meter.key)
