"""Takes closed exchanges off the request path and hands them to the sinks in batches, from a thread of its own.

The relay knows only `open` and `close`; both return at once.
"""

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from telemetry.conf import RecordConf
from telemetry.record.exchange import Closed

logger = logging.getLogger(__name__)

Store = Callable[[Sequence[Closed]], int]
"""Takes a batch and says how many of it are safe. It may raise, and then gets the same batch again: it has to be
idempotent."""
Sink = Callable[[Sequence[Closed]], None]
"""Another reader of what was stored. Its fault is logged, and it is not asked again."""

WRITER_NICENESS = 5
RETRY_SECONDS = (0.2, 1.0, 5.0)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The proof of this process: accepted = stored + in flight + queued + dropped."""

    accepted: int
    stored: int
    in_flight: int
    queued: int
    dropped: int
    bodies_dropped: int

    @property
    def gap(self) -> int:
        return self.accepted - self.stored - self.in_flight - self.queued - self.dropped


class Recorder:
    def __init__(self, conf: RecordConf, store: Store, others: Sequence[Sink] = ()) -> None:
        self._conf = conf
        self._store = store
        self._others = others
        self._queue: deque[Closed] = deque()
        # Two counters with one writer each: the event loop's additions and the thread's subtractions cannot be lost.
        self._queued_bytes = self._released_bytes = 0
        self._batch: list[Closed] = []
        self._accepted = self._closed = self._dropped = self._bodies_dropped = 0  # the event loop's
        self._stored = self._left_out = self._taken = 0  # the thread's
        self._wake = threading.Event()
        self._stopping = False
        self._deadline = float("inf")
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """One more exchange was accepted; `close` follows exactly once."""
        self._accepted += 1

    def close(self, closed: Closed) -> None:
        self._closed += 1
        if len(self._queue) >= self._conf.queue_max_exchanges:
            if not self._dropped:
                logger.error("the record is full at %s exchanges: new ones are dropped", len(self._queue))
            self._dropped += 1
            return
        size = closed.bodies.size_bytes if closed.bodies else 0
        held_bytes = self._queued_bytes - self._released_bytes
        if held_bytes + size > self._conf.queue_max_bytes:
            if not self._bodies_dropped:
                logger.error("the record holds %s bytes: new bodies are dropped", held_bytes)
            self._bodies_dropped += 1
            closed, size = Closed(closed.exchange, None), 0
        self._queued_bytes += size
        self._queue.append(closed)
        if len(self._queue) >= self._conf.batch_size:
            self._wake.set()

    def ledger(self) -> Ledger:
        return Ledger(
            accepted=self._accepted,
            stored=self._stored,
            in_flight=self._accepted - self._closed,
            queued=len(self._queue) + self._taken,
            dropped=self._dropped + self._left_out,
            bodies_dropped=self._bodies_dropped,
        )

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Blocks until everything is stored, or for `flush_seconds` at most. Once stopped, it stays so."""
        if self._stopping:
            return
        self._deadline = time.monotonic() + self._conf.flush_seconds
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(self._conf.flush_seconds + 1)
        if left := self.ledger().queued:
            logger.error("%s exchanges could not be stored before the process ended", left)

    def _run(self) -> None:
        _stand_back()
        while True:
            if not self._queue and self._stopping:
                return
            self._wake.wait(self._conf.batch_seconds)
            self._wake.clear()
            while self._queue:
                self._take_batch()
                if not self._store_batch():
                    return

    def _take_batch(self) -> None:
        count = min(self._conf.batch_size, len(self._queue))
        self._taken = count
        self._batch = [self._queue.popleft() for _ in range(count)]

    def _store_batch(self) -> bool:
        """Tries until the store has it; False when the process has to end without."""
        attempt = 0
        while True:
            try:
                stored = self._store(self._batch)
                break
            except Exception as error:
                if attempt == 0:
                    logger.error("the record cannot be written, it waits in memory: %s", _named(error))
                pause = RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)]
                attempt += 1
                if not self._pause(pause):
                    return False
        if attempt:
            logger.warning("the record can be written again")
        self._stored += stored
        self._left_out += len(self._batch) - stored
        self._taken = 0
        self._released_bytes += sum(closed.bodies.size_bytes for closed in self._batch if closed.bodies)
        for sink in self._others:
            try:
                sink(self._batch)
            except Exception as error:
                logger.error("a reader of the record failed: %s", _named(error))
        self._batch = []
        return True

    def _pause(self, seconds: float) -> bool:
        end = min(time.monotonic() + seconds, self._deadline)
        while (now := time.monotonic()) < end:
            self._wake.wait(min(0.2, end - now))
            self._wake.clear()
            end = min(end, self._deadline)
        return time.monotonic() < self._deadline


def _stand_back() -> None:
    """Lets the event loop go first where both want the processor (Linux counts niceness by thread)."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), WRITER_NICENESS)


def _named(error: Exception) -> str:
    """The kind of an error and its first line: database errors quote values in the lines after it."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
