"""Time limits on waiting: for a client's body, for the first byte of an answer, for the next one."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Patience:
    """One timer serves all the waits of one exchange, one after the other, and is seldom moved: a timer for each wait
    cost more than passing a chunk on. To be made and used within one task."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._fired = False

    async def limit(self, seconds: float, wait: Awaitable[T]) -> T:
        """What `wait` gives. Raises TimeoutError when it takes longer."""
        deadline = self._deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > deadline:
            self._arm(deadline)
        self._task = asyncio.current_task()
        self._fired = False
        try:
            return await wait
        except asyncio.CancelledError:
            # Somebody else's cancellation may have come at the same time: theirs goes on.
            if self._fired and self._task is not None and self._task.uncancel() == 0:
                raise TimeoutError from None
            raise
        finally:
            self._deadline = None

    def restart(self, seconds: float) -> None:
        """What is waited for has made progress: the time of this wait begins anew."""
        if self._deadline is not None:
            self._deadline = self._loop.time() + seconds

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._deadline is None:
            return  # nobody waits: the next wait arms it again
        # Timers may fire a hair early; a millisecond short of the limit counts as the limit.
        if self._loop.time() < self._deadline - 0.001:
            self._arm(self._deadline)
        elif self._task is not None:
            self._fired = True
            self._task.cancel()
