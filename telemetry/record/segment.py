"""One file of a spool: an SQLite database that one side only appends to and the other side only reads.

Nothing is ever deleted from it and its write-ahead log is never moved while it is written to: an insert touches the
end of one file, some 20 µs for 4 KB (a checkpoint or a delete in the same file stalled inserts for 25 to 77 ms). When
everything in it is stored, the whole file goes.
"""

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from telemetry.record.exchange import Bodies, Exchange

logger = logging.getLogger(__name__)

SUFFIX = ".db"
# Without a checkpoint there is nothing to sync: what a killed process wrote is in the log, which survives it. After a
# power cut the log's checksums tell where it ends.
SCHEMA = """
PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-1000;
CREATE TABLE opened (seq INTEGER PRIMARY KEY, facts BLOB NOT NULL, bodies BLOB, request_from INTEGER NOT NULL);
CREATE TABLE closed (n INTEGER PRIMARY KEY, seq INTEGER NOT NULL, facts BLOB NOT NULL, bodies BLOB,
    request_from INTEGER NOT NULL, response_from INTEGER NOT NULL, files_bytes INTEGER NOT NULL);
"""
BORN_BYTES = 20_000
PAGES_BYTES = 8000
"""What an entry takes on the disk beyond its bytes, about: the log holds whole pages, the last one again and again."""
IN_ROW, IN_OPENED, IN_FILE = range(3)
"""Where a body is: with the others of its row, in the row that opened the exchange, or in a file of its own."""

_facts = msgspec.msgpack.Decoder(Exchange)
_bodies = msgspec.msgpack.Decoder(Bodies)
encode = msgspec.msgpack.Encoder().encode


class Segment:
    """The side that appends. Not safe between threads: the spool has a lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = 0
        self.entries = 0
        self.open_entries = 0
        """Exchanges that opened here and have not closed yet, wherever they will."""
        self.closed = 0
        self.is_sealed = False
        self._db: sqlite3.Connection | None = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript(SCHEMA)

    def add_opened(self, seq: int, facts: bytes, bodies: bytes | None, request_from: int) -> None:
        """Raises sqlite3.Error."""
        self._insert("INSERT INTO opened VALUES (?, ?, ?, ?)", (seq, facts, bodies, request_from))
        self.bytes += len(facts) + len(bodies or b"") + PAGES_BYTES
        self.entries += 1
        self.open_entries += 1

    def add_closed(
        self, seq: int, facts: bytes, bodies: bytes | None, request_from: int, response_from: int, files_bytes: int
    ) -> None:
        """Raises sqlite3.Error."""
        row = (self.closed + 1, seq, facts, bodies, request_from, response_from, files_bytes)
        self._insert("INSERT INTO closed VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self.bytes += len(facts) + len(bodies or b"") + PAGES_BYTES
        self.entries += 1
        self.closed += 1

    def _insert(self, sql: str, row: tuple[Any, ...]) -> None:
        if self._db is None:
            raise sqlite3.ProgrammingError("this segment is sealed")
        self._db.execute(sql, row)

    @property
    def is_connected(self) -> bool:
        return self._db is not None

    def seal(self) -> None:
        """No more is appended."""
        self.is_sealed = True

    def close(self) -> None:
        """Takes a while: SQLite tidies its log. Not for the event loop."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None


class Row(msgspec.Struct, frozen=True):
    """One exchange as a segment holds it."""

    seq: int
    exchange: Exchange
    bodies: Bodies | None
    request_from: int
    response_from: int


class SegmentReader:
    """The side that reads; raises sqlite3.DatabaseError and msgspec.DecodeError for a file that is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.taken = 0
        """How many ends are safe elsewhere, and so where the next read begins."""
        self.unreadable = 0
        """How many exchanges could not be decoded: a newer version may have written them."""
        self._db: sqlite3.Connection | None = None

    def ended(self, limit: int, max_bytes: int) -> tuple[list[Row], int]:
        """The next exchanges that have ended, at most `limit`, and no more once they hold `max_bytes`; and the number
        of the last end that was looked at. One that cannot be decoded is left out."""
        rows: list[Row] = []
        last, held = self.taken, 0
        for found in self._query(_ENDED, (self.taken, limit)):
            last = found[0]
            try:
                rows.append(_row(*found[1:]))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._note_unreadable(error)
            held += found[-1] + sum(len(value) for value in found[2:6] if isinstance(value, bytes))
            if held >= max_bytes:
                break
        return rows, last

    def unended(self) -> Iterator[Row]:
        """What opened here and did not end here."""
        for seq, facts, bodies, request_from in self._query(_UNENDED, ()):
            try:
                yield _row(seq, facts, bodies, request_from, None, IN_ROW)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._note_unreadable(error)

    def _note_unreadable(self, error: Exception) -> None:
        self.unreadable += 1
        logger.error("an exchange in %s cannot be read: %s", self.path.name, error)

    def last_seq(self) -> int:
        ((seq,),) = self._query(_LAST_SEQ, ())
        return int(seq)

    def _query(self, sql: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        return self.open().execute(sql, values)

    def open(self) -> sqlite3.Connection:
        if self._db is None:
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            self._db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
            self._db.execute("SELECT 1 FROM opened").close()
        return self._db

    def close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None


_ENDED = """
SELECT n, closed.seq, closed.facts, closed.bodies, closed.request_from, opened.bodies, response_from, files_bytes
FROM closed LEFT JOIN opened ON opened.seq = closed.seq AND closed.request_from = 1
WHERE n > ? ORDER BY n LIMIT ?
"""
_LAST_SEQ = "SELECT ifnull(max(seq), 0) FROM (SELECT seq FROM opened UNION ALL SELECT seq FROM closed)"
_UNENDED = """
SELECT seq, facts, bodies, request_from FROM opened WHERE seq NOT IN (SELECT seq FROM closed) ORDER BY seq
"""


def _row(
    seq: int,
    facts: bytes,
    bodies: bytes | None,
    request_from: int,
    opened: bytes | None,
    response_from: int,
    files_bytes: int = 0,
) -> Row:
    kept = None if bodies is None else _bodies.decode(bodies)
    if kept is not None and request_from == IN_OPENED and opened is not None:
        kept = msgspec.structs.replace(kept, request=_bodies.decode(opened).request)
    return Row(seq, _facts.decode(facts), kept, request_from, response_from)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is bad. Whatever else it is, such as no file descriptor left, may pass."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def is_unborn(path: Path, error: sqlite3.Error) -> bool:
    """There are no tables, since its process was killed while it made this file: nothing was ever written to it."""
    if (error.sqlite_errorcode & 0xFF) != sqlite3.SQLITE_ERROR:
        return False
    log = path.with_name(f"{path.name}-wal")
    return all(not each.exists() or each.stat().st_size < BORN_BYTES for each in (path, log))


def remove(path: Path) -> None:
    """The file and SQLite's two beside it."""
    for name in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        name.unlink(missing_ok=True)
