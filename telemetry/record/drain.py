"""One segment on its way to the database: what is taken from it, from memory or from its file."""

import contextlib
import itertools
import sqlite3
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from telemetry.record.bodyfiles import BodyFiles, with_files
from telemetry.record.exchange import Closed
from telemetry.record.folder import Folder
from telemetry.record.segment import Segment, SegmentReader, remove


class Held(NamedTuple):
    """An end that is in a segment, and in memory too until the writer has it."""

    closed: Closed
    size_bytes: int
    files: list[Path]


@dataclass(frozen=True, slots=True)
class Batch:
    """Ends that the writer took, to be given back when they are safe."""

    closed: list[Closed]
    size: int
    """How many ends; more than there are exchanges where one could not be read."""
    files: list[Path]
    drain: "Drain"


@dataclass(slots=True, eq=False)
class Drain:
    """Not safe between threads: the spool has a lock."""

    segment: Segment
    reader: SegmentReader
    held: deque[Held] | None = field(default_factory=deque)
    """What is in the segment and not released; None where that was too much to hold, and the file is read instead."""

    @property
    def is_drained(self) -> bool:
        segment = self.segment
        return segment.is_sealed and not segment.open_entries and self.reader.taken >= segment.closed

    def from_memory(self, limit: int, max_bytes: int) -> Batch | None:
        if self.held is None:
            return None
        found: list[Held] = []
        size_bytes = 0
        for held in itertools.islice(self.held, limit):
            found.append(held)
            size_bytes += held.size_bytes
            if size_bytes >= max_bytes:
                break
        files = [path for held in found for path in held.files]
        return Batch([held.closed for held in found], len(found), files, self)

    def from_file(self, folder: Folder, files: BodyFiles, limit: int, max_bytes: int) -> Batch:
        """Raises sqlite3.Error."""
        rows, last = self.reader.ended(limit, max_bytes)
        closed = [Closed(row.exchange, with_files(folder, row)) for row in rows]
        paths = [path for row in rows for path in files.of(row.exchange.id, row.request_from, row.response_from)]
        return Batch(closed, last - self.reader.taken, paths, self)

    def release(self, size: int) -> int:
        """How many bytes of memory are free again."""
        self.reader.taken += size
        if self.held is None:
            return 0
        return sum(self.held.popleft().size_bytes for _ in range(size))

    def rest(self) -> None:
        """Nothing more is appended: the file stays and takes no descriptor. The reader goes last: it may not write, so
        that SQLite does not move a log that will be removed as a whole."""
        with contextlib.suppress(sqlite3.Error):
            self.reader.open()
        self.segment.close()
        self.reader.close()

    def discard(self, folder: Folder) -> None:
        self.rest()
        if self.reader.unreadable:
            folder.set_aside(self.segment.path)
        else:
            remove(self.segment.path)
