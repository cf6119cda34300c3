"""What processes know of credentials' health goes through a real Redis: `telemetry.credentials.sharing`."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from telemetry.credentials.board import Board
from telemetry.credentials.conf import CircuitConf, CoolingConf
from telemetry.credentials.sharing import Sharing
from tests.services import RedisServer

pytestmark = pytest.mark.anyio
LIMITED = [(b"retry-after", b"60"), (b"anthropic-ratelimit-requests-limit", b"10")]


@asynccontextmanager
async def process(redis: RedisServer) -> AsyncIterator[tuple[Board, Sharing]]:
    board = Board(CircuitConf(), CoolingConf())
    sharing = Sharing(board, redis.url)
    running = asyncio.create_task(sharing.run())
    try:
        yield board, sharing
    finally:
        sharing.stop()
        await running


async def until(is_true: Callable[[], object], seconds: float = 8) -> None:
    for _ in range(round(seconds * 100)):
        if is_true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true in time")


def say(board: Board, status: int) -> None:
    now = time.time()
    board.answered("a", "haiku", status, LIMITED, now, board.begin("a", "haiku", now))


async def test_what_one_finds_out_the_others_know(own_redis: RedisServer) -> None:
    async with process(own_redis) as (first, _), process(own_redis) as (second, told):
        await until(lambda: told.is_connected)
        say(first, 429)
        for _ in range(5):
            say(first, 500)
        first.bind("session", "a")
        first.own("file_1", "a")
        await until(lambda: second.cooling("a", "haiku", time.time()) and second.open_until("a", time.time()))
        await until(lambda: second.bound("session") == "a" and second.owner("file_1") == "a")
        await until(lambda: second.limits("a"))
        async with process(own_redis) as (third, asking):
            await until(lambda: third.open_until("a", time.time()))
            assert third.cooling("a", "haiku", time.time())
            assert third.limits("a")["haiku"].windows[0].limit == 10
            await asking.recall_session("session")
            await asking.recall_session("another")
            assert (third.bound("session"), third.bound("another")) == ("a", None)
            assert await asking.owner("file_1") == "a"


async def test_resets_outlive_those_who_heard_them(own_redis: RedisServer) -> None:
    async with process(own_redis) as (first, sharing):
        await until(lambda: sharing.is_connected)
        say(first, 429)
        await until(lambda: not first.news)
        first.reset("a", time.time())
        await until(lambda: not first.news)
    async with process(own_redis) as (second, sharing):
        await until(lambda: sharing.is_connected)
        assert second.cooling("a", "haiku", time.time()) is None


async def test_nobody_waits_for_a_redis_that_is_away_and_it_is_told_later(own_redis: RedisServer) -> None:
    async with process(own_redis) as (first, sharing), process(own_redis) as (second, other):
        await until(lambda: sharing.is_connected and other.is_connected)
        own_redis.stop()
        await until(lambda: not sharing.is_connected)
        await sharing.recall_session("session")
        assert first.bound("session") is None
        say(first, 429)
        assert first.cooling("a", "haiku", time.time())
        own_redis.start()
        await until(lambda: second.cooling("a", "haiku", time.time()))


async def test_processes_that_bind_a_session_at_once_come_to_the_same(own_redis: RedisServer) -> None:
    async with process(own_redis) as (first, sharing), process(own_redis) as (second, other):
        await until(lambda: sharing.is_connected and other.is_connected)
        for number in range(50):
            first.bind(str(number), "a")
            second.bind(str(number), "b")
        await until(lambda: all(second.bound(str(number)) == "a" for number in range(50)))
        assert all(first.bound(str(number)) == "a" for number in range(50))
        first.bind("7", "c")
        await until(lambda: second.bound("7") == "c")
        async with process(own_redis) as (third, asking):
            await until(lambda: asking.is_connected)
            for name in ("7", "8"):
                await asking.recall_session(name)
            assert (third.bound("7"), third.bound("8")) == ("c", "a")
