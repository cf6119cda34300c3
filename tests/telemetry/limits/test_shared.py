"""Limits that several processes share, in a real Redis."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from redis import Redis

from accounts.ids import new_id
from telemetry.limits.meters import LEASE_MS, Dimension, Meter
from telemetry.limits.script import PREFIX
from telemetry.limits.shared import BATCH_MAX, SharedStore
from telemetry.limits.store import Denied, Granted, Seed, Settlement, Unknown, Want
from tests.served import eventually
from tests.services import RedisServer
from tests.telemetry.limits.hammer import PLACES, REQUESTS, WINDOW_MS, Grant, meters_of
from tests.telemetry.limits.schedules import budget_of
from tests.telemetry.limits.stores import running

PROCESSES = 4
SECONDS = 3.0


@contextlib.contextmanager
def hammer(url: str, run: str, seconds: float) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.telemetry.limits.hammer", url, run, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def places() -> Meter:
    return Meter(key=f"{new_id()}:places", dimension=Dimension.CONCURRENT, limit=1000, scope="all", label="everything")


def one(meter: Meter) -> Want:
    return Want(new_id(), (meter,), (1,))


@pytest.fixture
def redis(shared_redis: str) -> Iterator[Any]:
    """Untyped: what its methods return is a sum of too many types."""
    with Redis.from_url(shared_redis) as client:
        yield client


# --- Several processes ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_processes_that_press_upon_the_same_limits_never_pass_them(shared_redis: str) -> None:
    run = str(new_id())
    meters = meters_of(run)
    async with running(SharedStore(shared_redis)) as store:
        await store.seed([Seed(meters[3], 11, frozenset())])
        grants = await asyncio.to_thread(_grants, shared_redis, run)
        taken, _, tokens, money = await store.read(meters)
    assert len(grants) > REQUESTS * (SECONDS - 1)  # and they are let in
    assert _most_in_a_window(grants) == REQUESTS
    assert 1 < _most_at_once(grants) <= PLACES
    assert taken.used == 0
    assert tokens.used == sum(grant.tokens for grant in grants)
    assert (money.used, money.held) == (11 + sum(grant.cost for grant in grants), 0)


def _grants(url: str, run: str) -> list[Grant]:
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(hammer(url, run, SECONDS)) for _ in range(PROCESSES)]
        said = [process.communicate(timeout=30)[0] for process in processes]
    found = [msgspec.json.decode(each, type=list[Grant]) for each in said]
    assert sum(map(bool, found)) > 1  # it was a rush of several
    return [grant for each in found for grant in each]


def _most_in_a_window(grants: list[Grant]) -> int:
    moments = sorted(grant.at_ms for grant in grants)
    return max(sum(1 for each in moments if start <= each < start + WINDOW_MS) for start in set(moments))


def _most_at_once(grants: list[Grant]) -> int:
    steps = sorted([(grant.from_ns, 1) for grant in grants] + [(grant.until_ns, -1) for grant in grants])
    most = now = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


def test_places_of_a_killed_process_are_free_within_thirty_seconds(shared_redis: str, redis: Any) -> None:
    run = str(new_id())
    meters = meters_of(run)
    asyncio.run(_seed(shared_redis, meters[3]))
    leases = PREFIX + meters[0].key
    with hammer(shared_redis, run, 60):  # and is killed
        eventually(lambda: redis.zcard(leases) >= PLACES, seconds=30)
    seconds, microseconds = redis.time()
    now_ms = seconds * 1000 + microseconds // 1000
    held = redis.zrange(leases, 0, -1, withscores=True)
    assert held
    assert all(ends_at_ms - now_ms <= LEASE_MS for _, ends_at_ms in held)
    assert LEASE_MS < 30_000
    assert asyncio.run(_taken(shared_redis, meters, now_ms)) == [len(held), len(held) * 10**6]
    assert asyncio.run(_taken(shared_redis, meters, now_ms + LEASE_MS)) == [0, 0]


async def _seed(url: str, meter: Meter) -> None:
    async with running(SharedStore(url)) as store:
        await store.seed([Seed(meter, 0, frozenset())])


async def _taken(url: str, meters: tuple[Meter, ...], now_ms: int) -> list[int]:
    async with running(SharedStore(url, now_ms)) as store:
        return [use.held for use in await store.read([meters[0], meters[3]])]


# --- One process ------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_one_reservation_is_one_call_and_many_share_calls(shared_redis: str) -> None:
    meter = places()
    async with running(SharedStore(shared_redis)) as store:
        assert isinstance(await store.reserve(one(meter)), Granted)
        assert store.calls == 1
        await asyncio.gather(*(store.reserve(one(meter)) for _ in range(2 * BATCH_MAX)))
        assert store.calls == 3
        (use,) = await store.read([meter])
        assert use.used == 1 + 2 * BATCH_MAX


@pytest.mark.anyio
async def test_a_client_that_leaves_while_its_reservation_is_under_way_holds_nothing(shared_redis: str) -> None:
    meters = meters_of(str(new_id()))[2:]
    async with running(SharedStore(shared_redis)) as store:
        await store.seed([Seed(meters[1], 0, frozenset())])
        left = 0
        for turns in range(40):  # of the event loop, until it leaves
            leaving = asyncio.create_task(store.reserve(Want(new_id(), meters, (100, 10**6))))
            for _ in range(turns):
                await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.wait([leaving])
            left += leaving.cancelled()
        await store.read(meters)  # by now what nobody waited for is given back
        stayed = 40 - left
        assert left > 3
        assert [use.used for use in await store.read(meters)] == [100 * stayed, 10**6 * stayed]


@pytest.mark.anyio
async def test_an_operation_that_fails_fails_alone(shared_redis: str, redis: Any) -> None:
    broken, sound = places(), places()
    redis.set(PREFIX + broken.key, "not a set of places")
    async with running(SharedStore(shared_redis)) as store:
        first, second = await asyncio.gather(
            store.reserve(one(broken)), store.reserve(one(sound)), return_exceptions=True
        )
    assert isinstance(first, Exception)
    assert isinstance(second, Granted)


@pytest.mark.anyio
async def test_whatever_is_kept_expires(own_redis: RedisServer) -> None:
    meters = meters_of(str(new_id()))
    lazy = msgspec.structs.replace(meters[3], key="lazy", is_lazy=True, limit=0)
    want = Want(new_id(), meters, (1, 1, 100, 10**6))
    async with running(SharedStore(own_redis.url)) as store:
        assert isinstance(await store.reserve(want), Unknown)
        await store.seed([Seed(meters[3], 0, frozenset())])
        assert isinstance(await store.reserve(Want(new_id(), (lazy,), (1,))), Denied)
        granted = await store.reserve(want)
        assert isinstance(granted, Granted)
        store.settle(Settlement(want, granted.at_ms, (0, 1, 50, 10**5)))
        assert isinstance(await store.reserve(want), Granted)
    with Redis.from_url(own_redis.url) as client:
        kept = {key.decode(): client.pttl(key) for key in client.keys()}  # noqa: SIM118 # no dictionary
    assert kept.pop(f"{PREFIX}epoch") == -1  # that is how a loss is seen
    assert len(kept) == 7
    assert min(kept.values()) > 0


@pytest.mark.anyio
async def test_a_redis_that_has_lost_everything_is_noticed(own_redis: RedisServer) -> None:
    meter = places()
    async with running(SharedStore(own_redis.url)) as store:
        await store.reserve(one(meter))
        await store.reserve(one(meter))
        assert not store.has_lost
        with Redis.from_url(own_redis.url) as client:
            client.flushall()
        await store.reserve(one(meter))
        assert store.has_lost


@pytest.mark.anyio
async def test_one_process_alone_asks_the_record_also_about_many_budgets_at_once(shared_redis: str) -> None:
    budgets = [budget_of(100) for _ in range(20)]
    async with running(SharedStore(shared_redis)) as one, running(SharedStore(shared_redis)) as other:
        assert all(await asyncio.gather(*(one.claim(budget, 60) for budget in budgets)))
        assert not any(await asyncio.gather(*(other.claim(budget, 60) for budget in budgets)))
        fresh = budget_of(100)
        assert await one.claim(fresh, 0.05)
        async with asyncio.timeout(5):
            while not await other.claim(fresh, 60):  # noqa: ASYNC110 # it ends in Redis
                await asyncio.sleep(0.01)
