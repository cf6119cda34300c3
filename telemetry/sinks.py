"""Tells those who watch, and do not store, of exchanges that have ended: log lines, metrics, traces. One thread tells
them in batches; nobody on a request's way waits for it. What must not be lost goes through the record instead."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

from telemetry.record.exchange import Exchange

logger = logging.getLogger(__name__)

Sink = Callable[[Sequence[Exchange]], None]
QUEUE_MAX_EXCHANGES = 50_000
"""Beyond it the oldest are not told of; they are counted."""
TELL_SECONDS = 0.25
STOP_SECONDS = 2.0


class Sinks:
    def __init__(self, sinks: Sequence[Sink] = (), max_exchanges: int = QUEUE_MAX_EXCHANGES) -> None:
        self._sinks = tuple(sinks)
        self._waiting: deque[Exchange] = deque(maxlen=max_exchanges)
        self._told = self._taken = 0
        self._failing: set[int] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def tell(self, exchange: Exchange) -> None:
        """On the event loop: appends, no more."""
        if self._sinks:
            self._told += 1
            self._waiting.append(exchange)

    @property
    def dropped(self) -> int:
        """How many the sinks never heard of."""
        return self._told - self._taken - len(self._waiting)

    def start(self, *more: Sink) -> None:
        """*more*: sinks that have to be made in the process that serves."""
        self._sinks += more
        self._thread = threading.Thread(target=self._run, name="sinks", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Blocks until what waits is told, for STOP_SECONDS at most."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stop.wait(TELL_SECONDS):
            self._tell_all()
        self._tell_all()

    def _tell_all(self) -> None:
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        self._taken += len(batch)
        if not batch:
            return
        for number, sink in enumerate(self._sinks):
            try:
                sink(batch)
                self._failing.discard(number)
            except Exception:
                if number not in self._failing:  # told once, until it works again
                    logger.exception("a sink fails: %s", sink)
                self._failing.add(number)
