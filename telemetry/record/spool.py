"""The durable queue between the wire and the database: segments that are appended to by the event loop and drained by
a writer. What a process that was killed leaves behind is adopted by another (`telemetry.record.adoption`)."""

import itertools
import logging
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from telemetry.conf import SpoolConf
from telemetry.record.bodyfiles import BodyFiles
from telemetry.record.drain import Batch, Drain, Held
from telemetry.record.exchange import Bodies, Closed, Exchange
from telemetry.record.folder import Folder
from telemetry.record.segment import IN_FILE, IN_OPENED, IN_ROW, SUFFIX, Segment, SegmentReader, encode, is_damage

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""How long nothing is written after a write failed."""
KEPT_SEGMENTS = 3
"""A stream that runs for hours must not keep the file of its beginning: beyond this many it moves on."""
FACTS_BYTES = 2000
"""What an exchange without bodies takes of the memory, about."""


class SpoolUnavailable(Exception):
    """Nothing can be written now: the disk is full, or the folder is gone."""


@dataclass(slots=True, eq=False)
class Entry:
    """One exchange in the spool, from its opening to its end."""

    seq: int
    exchange_id: UUID
    segment: Segment
    facts: bytes = field(repr=False)
    bodies: Bodies | None = field(repr=False)
    request_from: int = IN_ROW

    @property
    def has_request_in_file(self) -> bool:
        return self.request_from == IN_FILE


@dataclass(frozen=True, slots=True)
class Counts:
    """Of exchanges, at one moment."""

    ended: int
    waiting: int
    lost: int
    bodies_dropped: int
    held_bytes: int


NOTHING_SPOOLED = Counts(0, 0, 0, 0, 0)


class Spool:
    """One lock guards all of it: an append takes tens of microseconds, and nothing slow is done under it."""

    def __init__(self, folder: Folder, conf: SpoolConf) -> None:
        self._folder = folder
        self._conf = conf
        self._files = BodyFiles(folder)
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._last_seq = 0
        self._failed_at = float("-inf")
        self._drains: list[Drain] = []
        self._open: dict[int, Entry] = {}
        """In the order of their segments."""
        self._segments_bytes = self._memory_bytes = 0
        self.waiting = 0
        """How many ended exchanges are here and not yet released."""
        self._ended = self._lost = self._bodies_dropped = 0
        self._began_at = 0.0
        self._spare: Segment | None = None
        self._current: Segment | None = self._new_segment()
        self._watch(self._current)

    @property
    def process_id(self) -> UUID:
        return self._folder.process_id

    def counts(self) -> Counts:
        with self._lock:
            return Counts(self._ended, self.waiting, self._lost, self._bodies_dropped, self.held_bytes)

    @property
    def held_bytes(self) -> int:
        """What it takes on the disk, about."""
        return self._segments_bytes + self._files.held_bytes

    def needs_thread(self, bodies: Bodies | None) -> bool:
        """Whether these bodies are too large to be written on the event loop."""
        if bodies is None:
            return False
        return len(bodies.request) + bodies.response_bytes > self._conf.inline_max_bytes

    # --- The side that appends ------------------------------------------------------------------------------

    def open(self, exchange: Exchange, bodies: Bodies | None) -> Entry:
        """Raises SpoolUnavailable. A request body that needs a thread is written by `write_request` afterwards."""
        kept = bodies if bodies is not None and self._has_room(bodies.size_bytes) else None
        facts = encode(exchange)
        request_from = IN_ROW
        if bodies is not None and kept is not None and self.needs_thread(kept):
            kept, request_from = msgspec.structs.replace(kept, request=b""), IN_FILE
        with self._lock:
            segment = self._appendable()
            entry = Entry(self._last_seq + 1, exchange.id, segment, facts, kept, request_from)
            self._append_opened(entry, segment)
            # Counted when it is written, not before: what an adopter finds is what was accepted.
            self._last_seq = entry.seq
            self._open[entry.seq] = entry
        if bodies is not None and entry.has_request_in_file:
            self._files.reserve(exchange.id, "request", len(bodies.request))
        return entry

    def write_request(self, entry: Entry, body: bytes) -> None:
        """For a thread. A body that cannot be written is given up; its exchange is not."""
        if not self._files.write(entry.exchange_id, "request", body):
            self._note_dropped()

    def close(self, entry: Entry | None, closed: Closed) -> None:
        """Raises SpoolUnavailable; then the entry stays open until it is `abandon`ed. Where its bodies need a thread,
        so does this."""
        exchange_id = closed.exchange.id
        try:
            facts = encode(closed.exchange)
            with self._lock:
                self._appendable()
            kept, request_from, response_from = self._placed(entry, closed)
            with self._lock:
                segment = self._appendable()
                if (
                    entry is not None
                    and entry.bodies is not None
                    and request_from == IN_ROW
                    and entry.segment is segment
                ):
                    request_from = IN_OPENED
                seq = self._last_seq + 1 if entry is None else entry.seq
                self._append_closed(segment, seq, facts, kept, request_from, response_from)
                self._last_seq = max(self._last_seq, seq)
                whole = closed if kept is not None else Closed(closed.exchange, None)
                self._hold(whole, exchange_id, request_from, response_from)
                if entry is not None:
                    self._forget(entry)
        except BaseException:
            self._files.remove(self._files.of(exchange_id, IN_FILE, IN_FILE))
            raise

    def abandon(self, entry: Entry) -> None:
        """Its end is safe elsewhere."""
        with self._lock:
            self._forget(entry)

    def _append_closed(
        self, segment: Segment, seq: int, facts: bytes, kept: Bodies | None, request_from: int, response_from: int
    ) -> None:
        in_files = kept is not None and IN_FILE in (request_from, response_from)
        files_bytes = kept.size_bytes if kept is not None and in_files else 0
        if kept is not None and request_from != IN_ROW:
            kept = msgspec.structs.replace(kept, request=b"")
        if kept is not None and response_from != IN_ROW:
            kept = msgspec.structs.replace(kept, response=[])
        bodies = None if kept is None else encode(kept)
        before = segment.bytes
        try:
            segment.add_closed(seq, facts, bodies, request_from, response_from, files_bytes)
        except sqlite3.Error as error:
            raise self._fault(error) from None
        self._segments_bytes += segment.bytes - before
        self.waiting += 1
        self._ended += 1

    def _placed(self, entry: Entry | None, closed: Closed) -> tuple[Bodies | None, int, int]:
        """The bodies, and where their request and their response are. Large ones are written to files here; where there
        is no room, or that fails, all of them are given up."""
        kept, exchange_id = closed.bodies, closed.exchange.id
        request_from = IN_ROW if entry is None else entry.request_from
        if kept is None:
            return None, request_from, IN_ROW
        is_spooled = entry is not None and entry.bodies is not None
        if not self._has_room(kept.size_bytes - (len(kept.request) if is_spooled else 0)):
            self._note_dropped()
            return None, request_from, IN_ROW
        is_large = self.needs_thread(kept)
        if is_large and request_from == IN_ROW and len(kept.request) > self._conf.inline_max_bytes:
            if not self._files.write(exchange_id, "request", kept.request):
                self._note_dropped()
                return None, request_from, IN_ROW
            request_from = IN_FILE
        if not is_large or kept.response_bytes <= self._conf.inline_max_bytes:
            return kept, request_from, IN_ROW
        if not self._files.write(exchange_id, "response", b"".join(kept.response)):
            self._note_dropped()
            return None, request_from, IN_ROW
        return kept, request_from, IN_FILE

    def _hold(self, closed: Closed, exchange_id: UUID, request_from: int, response_from: int) -> None:
        """Saves the writer from reading it back, as long as memory lasts."""
        drain = self._drains[-1]
        if drain.held is None:
            return
        size_bytes = FACTS_BYTES + (closed.bodies.size_bytes if closed.bodies else 0)
        if self._memory_bytes + size_bytes > self._conf.memory_max_bytes:
            self._memory_bytes -= sum(held.size_bytes for held in drain.held)
            drain.held = None
            return
        self._memory_bytes += size_bytes
        drain.held.append(Held(closed, size_bytes, self._files.of(exchange_id, request_from, response_from)))

    def _forget(self, entry: Entry) -> None:
        if self._open.pop(entry.seq, None) is not None:
            entry.segment.open_entries -= 1

    def _has_room(self, size_bytes: int) -> bool:
        return self.held_bytes + size_bytes <= self._conf.max_bytes

    def _note_dropped(self) -> None:
        with self._lock:
            self._bodies_dropped += 1
            is_first = self._bodies_dropped == 1
        if is_first:
            logger.error(
                "the spool holds about %s bytes of at most %s (NEXUS_SPOOL_MAX_BYTES), or its disk is full: new bodies "
                "are dropped, rows are not",
                self.held_bytes,
                self._conf.max_bytes,
            )

    def _appendable(self) -> Segment:
        """The segment of the moment, under the lock."""
        current = self._current
        if current is not None:
            if self._is_full(current) and self._spare is not None:
                current = self._rotate(current, self._spare)
            return current
        if time.monotonic() - self._failed_at < RETRY_SECONDS:
            raise SpoolUnavailable
        try:
            self._current = self._spare or self._new_segment()
        except (sqlite3.Error, OSError) as error:
            raise self._fault(error) from None
        self._spare = None
        self._watch(self._current)
        logger.warning("the spool can be written again")
        return self._current

    def _is_full(self, segment: Segment) -> bool:
        return segment.entries >= self._conf.segment_max_entries or segment.bytes >= self._conf.segment_max_bytes

    def _rotate(self, current: Segment, spare: Segment) -> Segment:
        current.seal()
        self._current, self._spare = spare, None
        self._watch(spare)
        return spare

    def _append_opened(self, entry: Entry, segment: Segment) -> None:
        bodies = None if entry.bodies is None else encode(entry.bodies)
        before = segment.bytes
        try:
            segment.add_opened(entry.seq, entry.facts, bodies, entry.request_from)
        except sqlite3.Error as error:
            raise self._fault(error) from None
        self._segments_bytes += segment.bytes - before

    def _fault(self, error: Exception) -> SpoolUnavailable:
        """The file is set aside: what is in it is drained, and a new one is tried later."""
        if self._current is not None:
            self._current.seal()
            self._current = None
        self._failed_at = time.monotonic()
        logger.error("the spool cannot be written, exchanges wait in memory: %s: %s", type(error).__name__, error)
        return SpoolUnavailable(str(error))

    def _new_segment(self) -> Segment:
        return Segment(self._folder.path / f"{next(self._numbers):08}{SUFFIX}")

    def _watch(self, segment: Segment) -> None:
        self._began_at = time.monotonic()
        self._drains.append(Drain(segment, SegmentReader(segment.path)))

    # --- The side that drains: one thread ---------------------------------------------------------------------

    def take(self, limit: int, max_bytes: int) -> Batch | None:
        """The oldest ended exchanges that are not released; None where there are none, or none can be read now."""
        for drain in list(self._drains):
            if drain.reader.taken >= drain.segment.closed:
                continue
            with self._lock:
                held = drain.from_memory(limit, max_bytes)
            if held is not None:
                return held
            try:
                return drain.from_file(self._folder, self._files, limit, max_bytes)
            except sqlite3.Error as error:
                if is_damage(error):
                    self._give_up(drain, error)
                else:
                    drain.reader.close()
                    logger.warning("%s cannot be read now, it stays: %s", drain.segment.path.name, error)
        return None

    def release(self, batch: Batch) -> None:
        """Everything in the batch is safe; `remove_files` follows."""
        with self._lock:
            self.waiting -= batch.size
            self._lost += batch.size - len(batch.closed)
            self._memory_bytes -= batch.drain.release(batch.size)

    def remove_files(self, batch: Batch) -> None:
        self._files.remove(batch.files)

    def tidy(self) -> None:
        """What the writer does between batches: removes drained segments, moves long runners on, keeps a spare."""
        with self._lock:
            drained = [drain for drain in self._drains if drain.is_drained]
            self._drains = [drain for drain in self._drains if not drain.is_drained]
            self._segments_bytes -= sum(drain.segment.bytes for drain in drained)
        for drain in drained:
            drain.discard(self._folder)
        for drain in self._drains:
            if drain.segment.is_sealed and drain.segment.is_connected:
                drain.rest()
        self._prepare_spare()
        self._rotate_when_stale()
        while len(self._drains) > KEPT_SEGMENTS and self._move_on(self._drains[0].segment):
            pass

    def _prepare_spare(self) -> None:
        if self._spare is None and self._current is not None:
            try:
                self._spare = self._new_segment()
            except (sqlite3.Error, OSError) as error:
                logger.error("no new file for the spool: %s", error)

    def _rotate_when_stale(self) -> None:
        """A quiet process must not keep bodies on its disk that are stored long since."""
        with self._lock:
            current, spare = self._current, self._spare
            if current is None or spare is None or not current.entries:
                return
            if time.monotonic() - self._began_at > self._conf.segment_seconds:
                self._rotate(current, spare)

    def _move_on(self, segment: Segment) -> bool:
        """Opens the oldest exchange of that segment again in the newest one: one at a time, so that nobody waits for
        the lock. False where there is none, or nothing can be written."""
        with self._lock:
            entry = next(iter(self._open.values()), None)
            if entry is None or entry.segment is not segment or self._current in (None, segment):
                return False
            try:
                newest = self._appendable()
                self._append_opened(entry, newest)
            except SpoolUnavailable:
                return False
            entry.segment.open_entries -= 1
            entry.segment = newest
            self._open[entry.seq] = self._open.pop(entry.seq)
            return True

    def _give_up(self, drain: Drain, error: Exception) -> None:
        """The file is damaged: it is set aside, what ended in it is lost, and what is open is opened elsewhere."""
        segment = drain.segment
        with self._lock:
            segment.seal()
            if segment is self._current:
                self._current = None
                self._failed_at = float("-inf")
            missing = segment.closed - drain.reader.taken
            self._lost += missing
            self.waiting -= missing
            self._segments_bytes -= segment.bytes
            self._drains.remove(drain)
            try:
                self._appendable()
            except SpoolUnavailable:
                logger.error("exchanges that are open in a damaged file are in memory only")
        while self._move_on(segment):
            pass
        segment.close()
        drain.reader.close()
        target = self._folder.set_aside(segment.path)
        logger.error("%s exchanges are lost in a damaged spool file, set aside as %s: %s", missing, target, error)

    def stop(self) -> None:
        """Removes what is empty; what is not stays for whoever adopts it."""
        with self._lock:
            for segment in (self._current, self._spare):
                if segment is not None:
                    segment.seal()
            self._current = None
            self._failed_at = float("inf")
            everything_is_safe = not self.waiting and not self._open
        for drain in self._drains:
            drain.rest()
        if self._spare is not None:
            self._spare.close()
        if everything_is_safe:
            self._segments_bytes = 0
            self._folder.remove()
        else:
            self._folder.release()
