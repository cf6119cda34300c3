import asyncio

import pytest

from proxy.patience import Patience

pytestmark = pytest.mark.anyio


async def soon() -> str:
    await asyncio.sleep(0)
    return "done"


async def test_what_comes_in_time_comes() -> None:
    patience = Patience()
    for seconds in (5, 60, 1):
        assert await patience.limit(seconds, soon()) == "done"
    patience.close()


async def test_what_takes_too_long_ends_and_the_task_goes_on() -> None:
    patience = Patience()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await patience.limit(0.01, asyncio.Event().wait())
        assert await patience.limit(5, soon()) == "done"
    patience.close()


async def test_a_shorter_wait_after_a_longer_one_counts() -> None:
    patience = Patience()
    assert await patience.limit(60, soon()) == "done"
    with pytest.raises(TimeoutError):
        await patience.limit(0.01, asyncio.Event().wait())
    patience.close()


async def test_time_between_waits_does_not_count() -> None:
    patience = Patience()
    assert await patience.limit(0.02, soon()) == "done"
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, passed.set)
    await passed.wait()
    assert await patience.limit(0.02, soon()) == "done"
    patience.close()


async def test_somebody_elses_cancellation_goes_on() -> None:
    patience = Patience()
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await patience.limit(5, asyncio.Event().wait())
    task.uncancel()
    patience.close()
