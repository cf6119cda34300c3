"""Waiting for room in limits that several processes share, in a real Redis."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry.limits.meters import Meter
from telemetry.limits.shared import SharedStore
from tests.proxy.test_lines import asker, key
from tests.proxy.test_waiting import House, come, person, places
from tests.services import RedisServer
from tests.telemetry.limits.stores import running

TURNS = 60


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = RedisServer(Path(tmp_path_factory.mktemp("redis")))
    server.start()
    yield server.url
    server.stop()


async def in_use(house: House, meter: Meter) -> int:
    (use,) = await house.store.read([meter])
    return use.used


@pytest.mark.anyio
async def test_who_leaves_in_the_moment_in_which_it_is_let_in_holds_nothing(redis_url: str) -> None:
    meter, left = places("one place"), 0
    async with running(SharedStore(redis_url)) as store:
        house = House(store=store)
        for turns in range(TURNS):  # of the event loop, between the end of the first and the leaving of the second
            first = await house.admit(person(), (meter,))
            second = await come(house, person("Bob"), (meter,))
            for _ in range(10_000):
                if not house.room.waiting:
                    await asyncio.sleep(0)
            house.settle(first)
            for _ in range(turns):
                await asyncio.sleep(0)
            second.cancel()
            await asyncio.wait([second])
            left += second.cancelled()
            if not second.cancelled():
                house.settle(second.result())
            await in_use(house, meter)  # by now what nobody waited for is given back
            assert await in_use(house, meter) == 0
            house.assert_it_is_empty()
    assert 3 < left < TURNS


@pytest.mark.anyio
async def test_lines_of_two_processes_share_the_places_and_all_are_served(redis_url: str) -> None:
    meter, most = places("two places", 2), 0
    async with running(SharedStore(redis_url)) as one, running(SharedStore(redis_url)) as other:
        houses = [House(store=one), House(store=other)]
        at_work = 0

        async def work(house: House) -> None:
            nonlocal at_work, most
            admission = await house.admit(asker(key(waits=60)), (meter,))
            at_work += 1
            most = max(most, at_work)
            await asyncio.sleep(0.01)
            at_work -= 1
            house.settle(admission)

        await asyncio.gather(*(work(house) for house in houses for _ in range(40)))
        assert most == 2
        for house in houses:
            house.assert_it_is_empty()
            assert house.tries < 400
