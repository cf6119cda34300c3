"""Takes exchanges off the request path: into the spool at once, and from there into the database by a thread of its
own. While the spool cannot be written, exchanges wait in memory instead."""

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID

from accounts.ids import new_id
from telemetry.conf import RecordConf
from telemetry.record.exchange import Bodies, Closed, Exchange
from telemetry.record.ledger import Ledger, Page, Store, Stored, node_name
from telemetry.record.spool import NOTHING_SPOOLED, Entry, Spool, SpoolUnavailable

logger = logging.getLogger(__name__)

WRITER_NICENESS = 5
RETRY_SECONDS = (0.2, 1.0, 5.0)
BATCH_MAX_BYTES = 16_000_000
LEDGER_SECONDS = 2.0
"""How old the ledger of a process in the database gets while it is busy with nothing but streams."""
HEARTBEAT_SECONDS = 30.0
"""How often a process that has nothing to say says that it is there."""
ADOPT_SECONDS = 30.0


class Recording:
    """One exchange on its way into the record: perhaps opened, then closed exactly once."""

    __slots__ = ("_is_open", "_recorder", "entry")

    def __init__(self, recorder: "Recorder") -> None:
        self._recorder = recorder
        self._is_open = False
        self.entry: Entry | None = None

    def open(self, exchange: Exchange, bodies: Bodies | None) -> None:
        """What is known before the Claude API is called. On the event loop: a large body is handed to a thread."""
        self._is_open = True
        self.entry = self._recorder.entered(exchange, bodies)

    async def close(self, closed: Closed) -> None:
        """Returns when the exchange is safe in the spool. Being cancelled does not undo that."""
        if not self._is_open:
            self._recorder.accepted += 1
        await self._recorder.ended(self.entry, closed)


class Recorder:
    def __init__(
        self, conf: RecordConf, store: Store, spool: Spool | None = None, adopt: Callable[[], object] = lambda: None
    ) -> None:
        self._conf = conf
        self._store = store
        self._spool = spool
        self._adopt = adopt
        self._process_id: UUID = spool.process_id if spool else new_id()
        self._started_at = datetime.now(UTC)
        self._queue: deque[tuple[Closed, Entry | None]] = deque()
        self._queued_bytes = 0
        self._books = threading.Lock()
        self.accepted = 0
        """Counted on the event loop only."""
        self._begun = self._over = 0
        self._ended_in_memory = self._dropped = self._bodies_dropped = self._stored = self._left_out = 0
        self._written: Page | None = None
        self._written_at = float("-inf")
        self._adopted_at = float("-inf")
        self._attempts = 0
        self._retry_at = float("-inf")
        self._bodies_writer = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._wake = threading.Event()
        self._deadline: float | None = None
        self._thread: threading.Thread | None = None

    # --- What the relay says, on the event loop ---------------------------------------------------------------

    def begin(self) -> Recording:
        """One more exchange runs in this process; its `close` follows exactly once."""
        self._begun += 1
        return Recording(self)

    @property
    def running(self) -> int:
        """How many exchanges have begun and not closed."""
        return self._begun - self._over

    @property
    def process_id(self) -> UUID:
        """As the ledger knows this process."""
        return self._process_id

    def entered(self, exchange: Exchange, bodies: Bodies | None) -> Entry | None:
        self.accepted += 1
        if self._spool is None:
            return None
        try:
            entry = self._spool.open(exchange, bodies)
            if bodies is not None and entry.has_request_in_file:
                self._bodies_writer.submit(self._spool.write_request, entry, bodies.request)
        except SpoolUnavailable:
            return None
        except Exception:
            logger.exception("exchange %s could not be entered in the spool", exchange.id)
            return None
        return entry

    async def ended(self, entry: Entry | None, closed: Closed) -> None:
        try:
            if self._spool is not None and self._deadline is None and self._spool.needs_thread(closed.bodies):
                loop = asyncio.get_running_loop()
                # One thread, in order: the request's file is there before the row that refers to it.
                await asyncio.shield(loop.run_in_executor(self._bodies_writer, self._end, entry, closed))
            else:
                self._end(entry, closed)
        finally:
            self._over += 1

    def _end(self, entry: Entry | None, closed: Closed) -> None:
        try:
            if self._spool is None:
                raise SpoolUnavailable
            self._spool.close(entry, closed)
        except SpoolUnavailable:
            self._keep_in_memory(closed, entry)
        except Exception:
            logger.exception("exchange %s could not be closed in the spool", closed.exchange.id)
            self._keep_in_memory(closed, entry)
        if self._waiting >= self._conf.batch_size and not self._attempts:  # while it is away, nobody need hurry
            self._wake.set()

    def _keep_in_memory(self, closed: Closed, entry: Entry | None) -> None:
        """Its opening stays in the spool until its end is stored."""
        with self._books:
            self._ended_in_memory += 1
            if len(self._queue) >= self._conf.queue_max_exchanges:
                if not self._dropped:
                    logger.error("the record holds %s exchanges in memory: new ones are dropped", len(self._queue))
                self._dropped += 1
                return
            size = closed.bodies.size_bytes if closed.bodies else 0
            if self._queued_bytes + size > self._conf.queue_max_bytes:
                if not self._bodies_dropped:
                    logger.error("the record holds %s bytes in memory: new bodies are dropped", self._queued_bytes)
                self._bodies_dropped += 1
                closed, size = Closed(closed.exchange, None), 0
            self._queued_bytes += size
            self._queue.append((closed, entry))

    # --- The proof ----------------------------------------------------------------------------------------------

    @property
    def _waiting(self) -> int:
        return len(self._queue) + (self._spool.waiting if self._spool else 0)

    def ledger(self) -> Ledger:
        with self._books:
            spooled = self._spool.counts() if self._spool else NOTHING_SPOOLED
            return Ledger(
                accepted=self.accepted,
                stored=self._stored,
                in_flight=self.accepted - self._ended_in_memory - spooled.ended,
                spooled=len(self._queue) + spooled.waiting,
                lost=self._dropped + self._left_out + spooled.lost,
                bodies_dropped=self._bodies_dropped + spooled.bodies_dropped,
                spooled_bytes=self._queued_bytes + spooled.held_bytes,
            )

    def _page(self, taken: int = 0, ended_at: datetime | None = None) -> Page:
        """What the ledger has to say once the `taken` exchanges are stored."""
        now = self.ledger()
        return Page(
            process_id=self._process_id,
            node=node_name(),
            started_at=self._started_at,
            accepted=now.accepted,
            in_flight=now.in_flight,
            spooled=now.spooled - taken,
            spooled_bytes=now.spooled_bytes if ended_at is None else 0,  # an empty spool is removed with its process
            lost=now.lost,
            bodies_dropped=now.bodies_dropped,
            ended_at=ended_at,
        )

    # --- The writer's thread ------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Blocks until everything is stored, or for `flush_seconds` at most: what the spool holds then is stored by the
        next process. Once stopped, it stays so."""
        if self._deadline is not None:
            return
        self._bodies_writer.shutdown(wait=True)
        self._deadline = time.monotonic() + self._conf.flush_seconds
        self._retry_at = float("-inf")  # one more honest try
        self._wake.set()
        if self._thread is not None:
            self._thread.join(self._conf.flush_seconds + 1)
        if self._queue:
            logger.error("%s exchanges could not be stored before the process ended", len(self._queue))
        if self._spool is not None:
            if self._spool.waiting:
                logger.warning("%s exchanges stay in the spool until the next start", self._spool.waiting)
            self._spool.stop()

    def _run(self) -> None:
        _stand_back()
        while not self._is_over():
            self._attempt(self._work)
            self._tidy()
            self._adopt_when_due()
            if self._deadline is None:
                self._wake.wait(self._conf.batch_seconds)
            else:
                self._wake.wait(0.05)
            self._wake.clear()

    def _tidy(self) -> None:
        """Also while the database is away: then the spool grows, and its files should stay small."""
        if self._spool is None:
            return
        try:
            self._spool.tidy()
        except Exception as error:
            logger.error("the spool cannot be tidied: %s", _named(error))

    def _adopt_when_due(self) -> None:
        """Others' spools: trouble with them is not this process's."""
        if self._deadline is not None or time.monotonic() - self._adopted_at < ADOPT_SECONDS:
            return
        self._adopted_at = time.monotonic()
        try:
            self._adopt()
        except Exception as error:
            logger.warning("spools of processes that are gone wait for the next time: %s", _named(error))

    def _is_over(self) -> bool:
        if self._deadline is None:
            return False
        if self._waiting and time.monotonic() < self._deadline:
            return False
        if not self._attempts:
            self._attempt(lambda: self._write_page(self._page(ended_at=None if self._waiting else datetime.now(UTC))))
        return True

    def _attempt(self, work: Callable[[], None]) -> None:
        """Does it unless the database was away a moment ago; a failure is told once."""
        if time.monotonic() < self._retry_at:
            return
        try:
            work()
        except Exception as error:
            if not self._attempts:
                logger.error("the record cannot be written, it waits in the spool: %s", _named(error))
            self._retry_at = time.monotonic() + RETRY_SECONDS[min(self._attempts, len(RETRY_SECONDS) - 1)]
            self._attempts += 1
            return
        if self._attempts:
            logger.warning("the record can be written again")
        self._attempts = 0

    def _work(self) -> None:
        if self._spool is not None:
            self._drain(self._spool)
        while self._queue:
            self._store_queued()
        age = time.monotonic() - self._written_at
        if age > LEDGER_SECONDS and ((page := self._page()) != self._written or age > HEARTBEAT_SECONDS):
            self._write_page(page)

    def _drain(self, spool: Spool) -> None:
        """What waits now, and not what comes meanwhile: that would be many small batches, not a few large ones."""
        left = spool.waiting
        while left > 0 and (batch := spool.take(self._conf.batch_size, BATCH_MAX_BYTES)):
            stored = self._store(batch.closed, self._page(taken=batch.size))
            with self._books:
                spool.release(batch)
                self._note(stored)
            spool.remove_files(batch)
            spool.tidy()
            left -= batch.size

    def _store_queued(self) -> None:
        queued = list(self._queue)[: self._conf.batch_size]
        closed = [each for each, _ in queued]
        stored = self._store(closed, self._page(taken=len(closed)))
        with self._books:
            for _ in queued:
                self._queue.popleft()
            self._queued_bytes -= sum(each.bodies.size_bytes for each in closed if each.bodies)
            self._note(stored)
        for _, entry in queued:
            if entry is not None and self._spool is not None:
                self._spool.abandon(entry)

    def _note(self, stored: Stored) -> None:
        self._stored = stored.total
        self._left_out += stored.left_out

    def _write_page(self, page: Page) -> None:
        self._store((), page)
        self._written, self._written_at = page, time.monotonic()


def _stand_back() -> None:
    """Lets the event loop go first where both want the processor (Linux counts niceness by thread)."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), WRITER_NICENESS)


def _named(error: Exception) -> str:
    """The kind of an error and its first line: database errors quote values in the lines after it."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
