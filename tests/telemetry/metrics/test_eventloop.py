"""The watch of the event loop: what it sees, and that it neither dies nor lingers."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from telemetry.metrics.eventloop import LoopWatch

pytestmark = pytest.mark.anyio
LOOK = 0.01


@contextlib.asynccontextmanager
async def watching(tell: Callable[[Sequence[float]], None]) -> AsyncIterator[None]:
    task = asyncio.create_task(LoopWatch(tell, look_seconds=LOOK).run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()


async def until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not look():  # noqa: ASYNC110 (threads make it true)
            await asyncio.sleep(LOOK)


async def test_it_sees_a_loop_that_was_held_up() -> None:
    lags: list[float] = []
    async with watching(lags.extend):
        await asyncio.sleep(0)
        time.sleep(0.3)  # the fault that it is there for
        await until(lambda: lags)
    assert max(lags) > 0.2


async def test_it_tells_in_a_thread_and_goes_on_when_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    threads: list[str] = []

    def fail(lags: Sequence[float]) -> None:
        threads.append(threading.current_thread().name)
        raise RuntimeError("a secret")

    async with watching(fail):
        await until(lambda: len(threads) >= 3)
    assert threading.current_thread().name not in threads
    assert [record.getMessage() for record in caplog.records] == ["how this process is cannot be told: RuntimeError"]


async def test_it_goes_on_measuring_while_whoever_is_told_takes_long() -> None:
    told: list[int] = []
    go_on = threading.Event()

    def wait(lags: Sequence[float]) -> None:
        told.append(len(lags))
        go_on.wait(10)

    async with watching(wait):
        await until(lambda: told)
        await asyncio.sleep(20 * LOOK)
        assert len(told) == 1
        go_on.set()
        await until(lambda: len(told) > 1)
    assert told[1] > told[0]
