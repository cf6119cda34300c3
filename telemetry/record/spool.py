"""The durable queue between the wire and the database: segments that are appended to by the event loop and drained by
a writer. What a process that was killed leaves behind is adopted by another (`telemetry.record.adoption`)."""

import contextlib
import itertools
import logging
import sqlite3
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec

from telemetry.conf import SpoolConf
from telemetry.record.exchange import Bodies, Closed, Exchange
from telemetry.record.folder import Folder
from telemetry.record.segment import IN_FILE, IN_OPENED, IN_ROW, SUFFIX, Row, Segment, SegmentReader, encode, remove

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""How long nothing is written after a write failed."""
KEPT_SEGMENTS = 3
"""A stream that runs for hours must not keep the file of its beginning: beyond this many it moves on."""
READ_ATTEMPTS = 3
FACTS_BYTES = 2000
"""What an exchange without bodies takes of the memory, about."""
DAMAGE = (sqlite3.DatabaseError,)


class SpoolUnavailable(Exception):
    """Nothing can be written now: the disk is full, or the folder is gone."""


@dataclass(slots=True, eq=False)
class Entry:
    """One exchange in the spool, from its opening to its end."""

    seq: int
    segment: Segment
    facts: bytes = field(repr=False)
    bodies: Bodies | None = field(repr=False)
    request_from: int = IN_ROW

    @property
    def has_request_in_file(self) -> bool:
        return self.request_from == IN_FILE


@dataclass(frozen=True, slots=True)
class Batch:
    """Ends that the writer took, to be given back with `release` when they are safe."""

    closed: list[Closed]
    size: int
    """How many ends; more than there are exchanges where one could not be read."""
    files: list[Path]
    drain: "_Drain"


class Held(NamedTuple):
    """An end that is in a segment, and in memory too until the writer has it."""

    closed: Closed
    size_bytes: int
    files: list[Path]


@dataclass(frozen=True, slots=True)
class Counts:
    """Of exchanges, at one moment."""

    ended: int
    waiting: int
    lost: int
    bodies_dropped: int
    held_bytes: int


NOTHING_SPOOLED = Counts(0, 0, 0, 0, 0)


@dataclass(slots=True)
class _Drain:
    segment: Segment
    reader: SegmentReader
    held: deque[Held] | None = field(default_factory=deque)
    """What is in the segment and not released; None where that was too much to hold, and the file is read instead."""
    failures: int = 0

    def close(self) -> None:
        """The reader last: it may not write, so SQLite does not move a log that nobody needs any more."""
        with contextlib.suppress(sqlite3.Error):
            self.reader.open()
        self.segment.close()
        self.reader.close()

    def discard(self) -> None:
        self.close()
        remove(self.segment.path)


class Spool:
    """One lock guards all of it: an append takes tens of microseconds, and nothing slow is done under it."""

    def __init__(self, folder: Folder, conf: SpoolConf) -> None:
        self._folder = folder
        self._conf = conf
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._seqs = itertools.count(1)
        self._failed_at = float("-inf")
        self._drains: list[_Drain] = []
        self._open: dict[int, Entry] = {}
        self._appended_bytes = self._released_bytes = self._held_in_memory_bytes = 0
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
        return self._appended_bytes - self._released_bytes

    def needs_thread(self, bodies: Bodies | None) -> bool:
        """Whether these bodies are too large to be written on the event loop."""
        if bodies is None:
            return False
        return len(bodies.request) + bodies.response_bytes > self._conf.inline_max_bytes

    # --- The side that appends ------------------------------------------------------------------------------

    def open(self, exchange: Exchange, bodies: Bodies | None) -> Entry:
        """Raises SpoolUnavailable. A request body that needs a thread is written by `write_request` afterwards."""
        kept = self._within_bound(bodies)
        facts = encode(exchange)
        request_from = IN_ROW
        if kept is not None and self.needs_thread(kept):
            kept, request_from = msgspec.structs.replace(kept, request=b""), IN_FILE
        with self._lock:
            segment = self._appendable()
            entry = Entry(next(self._seqs), segment, facts, kept, request_from)
            self._append_opened(entry, segment)
            self._open[entry.seq] = entry
        return entry

    def write_request(self, entry: Entry, body: bytes) -> None:
        """For a thread. A body that cannot be written is given up; its exchange is not."""
        self._write(entry.seq, "request", body)

    def close(self, entry: Entry | None, closed: Closed) -> None:
        """Raises SpoolUnavailable. Where its bodies need a thread, so does this."""
        seq = next(self._seqs) if entry is None else entry.seq
        facts = encode(closed.exchange)
        is_spooled = entry is not None and entry.bodies is not None
        bounded = self._within_bound(closed.bodies, without_request=is_spooled)
        kept, request_from, response_from = self._placed(seq, entry, bounded)
        with self._lock:
            try:
                segment = self._appendable()
                if is_spooled and request_from == IN_ROW and entry is not None and entry.segment is segment:
                    request_from = IN_OPENED
                self._append_closed(segment, seq, facts, kept, request_from, response_from)
                whole = closed if kept is not None else Closed(closed.exchange, None)
                self._hold(whole, self._files(seq, request_from, response_from))
            finally:
                if entry is not None:
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
        before = segment.bytes
        try:
            segment.add_closed(
                seq, facts, None if kept is None else encode(kept), request_from, response_from, files_bytes
            )
        except sqlite3.Error as error:
            raise self._fault(error) from None
        self._appended_bytes += segment.bytes - before
        self.waiting += 1
        self._ended += 1

    def _placed(self, seq: int, entry: Entry | None, kept: Bodies | None) -> tuple[Bodies | None, int, int]:
        """The bodies, and where their request and their response are. Large ones are written to files here; where that
        fails, all of them are given up."""
        request_from = IN_ROW if entry is None else entry.request_from
        if kept is None or not self.needs_thread(kept):
            return kept, request_from, IN_ROW
        if request_from == IN_ROW and len(kept.request) > self._conf.inline_max_bytes:
            if not self._write(seq, "request", kept.request):
                return None, request_from, IN_ROW
            request_from = IN_FILE
        if kept.response_bytes <= self._conf.inline_max_bytes:
            return kept, request_from, IN_ROW
        if not self._write(seq, "response", b"".join(kept.response)):
            return None, request_from, IN_ROW
        return kept, request_from, IN_FILE

    def _hold(self, closed: Closed, files: list[Path]) -> None:
        """Saves the writer from reading it back, as long as memory lasts."""
        drain = self._drains[-1]
        if drain.held is None:
            return
        size_bytes = FACTS_BYTES + (closed.bodies.size_bytes if closed.bodies else 0)
        if self._held_in_memory_bytes + size_bytes > self._conf.memory_max_bytes:
            self._held_in_memory_bytes -= sum(held.size_bytes for held in drain.held)
            drain.held = None
            return
        self._held_in_memory_bytes += size_bytes
        drain.held.append(Held(closed, size_bytes, files))

    def _files(self, seq: int, request_from: int, response_from: int) -> list[Path]:
        which = (("request", request_from), ("response", response_from))
        return [self._folder.body(seq, name) for name, where in which if where == IN_FILE]

    def _forget(self, entry: Entry) -> None:
        if self._open.pop(entry.seq, None) is not None:
            entry.segment.open_entries -= 1

    def _within_bound(self, bodies: Bodies | None, *, without_request: bool = False) -> Bodies | None:
        if bodies is None:
            return None
        size_bytes = bodies.size_bytes - (len(bodies.request) if without_request else 0)
        if self.held_bytes + size_bytes <= self._conf.max_bytes:
            return bodies
        with self._lock:
            self._bodies_dropped += 1
            is_first = self._bodies_dropped == 1
        if is_first:
            logger.error(
                "the spool holds %s bytes of at most %s: new bodies are dropped, rows are not (NEXUS_SPOOL_MAX_BYTES)",
                self.held_bytes,
                self._conf.max_bytes,
            )
        return None

    def _appendable(self) -> Segment:
        """The segment of the moment, under the lock."""
        current = self._current
        if current is not None:
            if self._is_full(current) and self._spare is not None:
                current = self._rotate()
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

    def _rotate(self) -> Segment:
        assert self._current is not None and self._spare is not None  # noqa: S101, PT018 (asked by its callers)
        self._current.seal()
        self._current, self._spare = self._spare, None
        self._watch(self._current)
        return self._current

    def _append_opened(self, entry: Entry, segment: Segment) -> None:
        bodies = None if entry.bodies is None else encode(entry.bodies)
        before = segment.bytes
        try:
            segment.add_opened(entry.seq, entry.facts, bodies, entry.request_from)
        except sqlite3.Error as error:
            raise self._fault(error) from None
        self._appended_bytes += segment.bytes - before

    def _fault(self, error: Exception) -> SpoolUnavailable:
        """The file is set aside: what is in it is drained, and a new one is tried later."""
        if self._current is not None:
            self._current.seal()
            self._current = None
        self._failed_at = time.monotonic()
        logger.error("the spool cannot be written, exchanges wait in memory: %s: %s", type(error).__name__, error)
        return SpoolUnavailable(str(error))

    def _write(self, seq: int, which: str, body: bytes) -> bool:
        """Whole or not at all: a process may be killed half-way."""
        path = self._folder.body(seq, which)
        nascent = path.with_name(f"{path.name}.part")
        try:
            nascent.write_bytes(body)
            nascent.rename(path)
        except OSError as error:
            logger.error("the %s body of an exchange could not be spooled: %s", which, error.strerror)
            nascent.unlink(missing_ok=True)
            with self._lock:
                self._bodies_dropped += 1
            return False
        with self._lock:
            self._appended_bytes += len(body)
        return True

    def _new_segment(self) -> Segment:
        return Segment(self._folder.path / f"{next(self._numbers):08}{SUFFIX}")

    def _watch(self, segment: Segment) -> None:
        self._began_at = time.monotonic()
        self._drains.append(_Drain(segment, SegmentReader(segment.path)))

    # --- The side that drains: one thread ---------------------------------------------------------------------

    def take(self, limit: int, max_bytes: int) -> Batch | None:
        """The oldest ended exchanges that are not released; None where there are none."""
        for drain in list(self._drains):
            if drain.reader.taken >= drain.segment.closed:
                continue
            if (held := self._held(drain, limit, max_bytes)) is not None:
                return held
            try:
                return self._read(drain, limit, max_bytes)
            except DAMAGE as error:
                self._note_damage(drain, error)
        return None

    def _held(self, drain: _Drain, limit: int, max_bytes: int) -> Batch | None:
        with self._lock:
            if drain.held is None:
                return None
            found = list(itertools.islice(drain.held, limit))
        count = size_bytes = 0
        for count, held in enumerate(found, 1):  # noqa: B007
            size_bytes += held.size_bytes
            if size_bytes >= max_bytes:
                break
        del found[count:]
        files = [path for held in found for path in held.files]
        return Batch([held.closed for held in found], len(found), files, drain)

    def _read(self, drain: _Drain, limit: int, max_bytes: int) -> Batch:
        rows, last = drain.reader.ended(limit, max_bytes)
        closed = [Closed(row.exchange, with_files(self._folder, row)) for row in rows]
        files = [path for row in rows for path in self._files(row.seq, row.request_from, row.response_from)]
        return Batch(closed, last - drain.reader.taken, files, drain)

    def release(self, batch: Batch) -> None:
        """Everything in the batch is safe; `remove_files` follows."""
        drain = batch.drain
        with self._lock:
            self.waiting -= batch.size
            self._lost += batch.size - len(batch.closed)
            drain.reader.taken += batch.size
            if drain.held is not None:
                for _ in range(batch.size):
                    self._held_in_memory_bytes -= drain.held.popleft().size_bytes

    def remove_files(self, batch: Batch) -> None:
        removed = 0
        for path in batch.files:
            with contextlib.suppress(FileNotFoundError):
                removed += path.stat().st_size
                path.unlink()
        with self._lock:
            self._released_bytes += removed

    def tidy(self) -> None:
        """What the writer does between batches: removes drained segments, moves long runners on, keeps a spare."""
        with self._lock:
            drained = [drain for drain in self._drains if self._is_drained(drain)]
            self._drains = [drain for drain in self._drains if drain not in drained]
            self._released_bytes += sum(drain.segment.bytes for drain in drained)
        for drain in drained:
            drain.discard()
        self._prepare_spare()
        self._rotate_when_stale()
        self._move_long_runners()

    def _is_drained(self, drain: _Drain) -> bool:
        segment = drain.segment
        return segment.is_sealed and not segment.open_entries and drain.reader.taken >= segment.closed

    def _prepare_spare(self) -> None:
        if self._spare is None:
            try:
                self._spare = self._new_segment()
            except (sqlite3.Error, OSError) as error:
                logger.error("no new file for the spool: %s", error)

    def _rotate_when_stale(self) -> None:
        """A quiet process must not keep bodies on its disk that are stored long since."""
        with self._lock:
            current = self._current
            if current is None or self._spare is None or not current.entries:
                return
            if time.monotonic() - self._began_at > self._conf.segment_seconds:
                self._rotate()

    def _move_long_runners(self) -> None:
        """One at a time, so that nobody waits for the lock. The open ones are in the order of their segments."""
        while len(self._drains) > KEPT_SEGMENTS:
            with self._lock:
                entry = next(iter(self._open.values()), None)
                if entry is None or entry.segment is not self._drains[0].segment or self._current is None:
                    return
                try:
                    segment = self._appendable()
                    self._append_opened(entry, segment)
                except SpoolUnavailable:
                    return
                entry.segment.open_entries -= 1
                entry.segment = segment
                self._open[entry.seq] = self._open.pop(entry.seq)

    def _note_damage(self, drain: _Drain, error: Exception) -> None:
        drain.failures += 1
        if isinstance(error, sqlite3.OperationalError) and drain.failures < READ_ATTEMPTS:
            return
        with self._lock:
            segment = drain.segment
            segment.seal()
            if segment is self._current:
                self._current = None
                self._failed_at = float("-inf")
            missing = segment.closed - drain.reader.taken
            self._lost += missing
            self.waiting -= missing
            self._released_bytes += segment.bytes
            self._drains.remove(drain)
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
            drain.close()
        if self._spare is not None:
            self._spare.close()
        if everything_is_safe:
            self._released_bytes = self._appended_bytes
            self._folder.remove()
        else:
            self._folder.release()


def with_files(folder: Folder, row: Row) -> Bodies | None:
    """The bodies of a row with those that lie in files of their own. A file that is not there was never written whole,
    or was stored before its process was killed: then nothing is written in its place."""
    bodies = row.bodies
    if bodies is None or IN_FILE not in (row.request_from, row.response_from):
        return bodies
    if row.request_from == IN_FILE:
        request = _read(folder, row.seq, "request")
        bodies = msgspec.structs.replace(
            bodies, request=request or b"", request_is_whole=bodies.request_is_whole and request is not None
        )
    if row.response_from == IN_FILE:
        response = _read(folder, row.seq, "response")
        bodies = msgspec.structs.replace(
            bodies, response=[response or b""], response_is_whole=bodies.response_is_whole and response is not None
        )
    return bodies


def _read(folder: Folder, seq: int, which: str) -> bytes | None:
    try:
        return folder.body(seq, which).read_bytes()
    except FileNotFoundError:
        return None
