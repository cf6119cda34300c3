"""How late the event loop is: what waits for it, waits for longer than it has to by so much."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
TELL_EVERY = 4
"""Looks: so often somebody is told."""
KEPT = 240
"""Lags that are not told yet, while whoever is told takes long."""


class LoopWatch:
    """Measures how late a short sleep wakes. `tell` is called in a thread of its own, with the lags in seconds since
    the last time."""

    def __init__(self, tell: Callable[[Sequence[float]], None], look_seconds: float = LOOK_SECONDS) -> None:
        self._tell = tell
        self._look_seconds = look_seconds
        self._lags: deque[float] = deque(maxlen=KEPT)
        self._is_failing = False

    async def run(self) -> None:
        """Until it is cancelled."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="vitals")
        try:
            await self._watch(thread)
        finally:
            thread.shutdown(wait=False, cancel_futures=True)

    async def _watch(self, thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        telling: asyncio.Future[None] | None = None
        while True:
            due = time.monotonic() + self._look_seconds
            await asyncio.sleep(self._look_seconds)
            self._lags.append(max(0.0, time.monotonic() - due))
            if len(self._lags) >= TELL_EVERY and (telling is None or telling.done()):
                lags = tuple(self._lags)
                self._lags.clear()
                telling = loop.run_in_executor(thread, self._tell_safely, lags)

    def _tell_safely(self, lags: Sequence[float]) -> None:
        try:
            self._tell(lags)
            self._is_failing = False
        except Exception as error:
            if not self._is_failing:  # told once, until it works again
                logger.warning("how this process is cannot be told: %s", type(error).__name__)
            self._is_failing = True
