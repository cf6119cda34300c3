"""Takes over what processes that are gone left in their spools. Twice the same is harmless: inserts are idempotent."""

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec

from telemetry.record.bodyfiles import size_bytes, with_files
from telemetry.record.exchange import Closed
from telemetry.record.folder import Folder, folders, sweep
from telemetry.record.ledger import Page, Store, node_name
from telemetry.record.segment import Row, SegmentReader, is_damage, is_unborn

logger = logging.getLogger(__name__)

BATCH_MAX_EXCHANGES = 500
BATCH_MAX_BYTES = 16_000_000
INTERRUPTED = "The process of Nexus that carried this exchange was killed before it ended."


class StoreAway(Exception):
    """The database does not take what was found; `__cause__` says why."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """What one spool held."""

    process_id: UUID
    ended: int
    interrupted: int
    unreadable: int
    """Exchanges that could not be decoded, and files that are damaged."""


def adopt(root: Path, store: Store) -> list[Adopted]:
    """Stores what lies in spools without an owner, and removes them. Raises StoreAway while the database is away: then
    the rest stays for the next time. So does a spool that cannot be read now; it holds up no other."""
    sweep(root)
    adopted = []
    for path in folders(root):
        try:
            folder = Folder.claim(path)
        except OSError as error:
            logger.error("a spool cannot be adopted now: %s", error)
            continue
        if folder is None:
            continue
        try:
            done = _Adoption(folder, store).run()
            if done.unreadable:
                logger.error("a spool that cannot be read whole is set aside as %s", folder.set_aside_whole())
            else:
                folder.remove()
        except (OSError, sqlite3.Error) as error:
            folder.release()
            logger.error("spool %s cannot be adopted now: %s", path.name, error)
            continue
        except BaseException:
            folder.release()
            raise
        logger.warning("adopted the spool of a process that is gone: %s", done)
        adopted.append(done)
    return adopted


class _Adoption:
    def __init__(self, folder: Folder, store: Store) -> None:
        self._folder = folder
        self._store = store
        self._last_seq = 0
        self._seen: set[int] = set()
        self._interrupted = self._unreadable = self._left_out = 0
        self._page = Page(
            process_id=folder.process_id,
            node=node_name(),
            started_at=datetime.fromtimestamp(folder.path.stat().st_ctime, UTC),
        )

    def run(self) -> Adopted:
        # An exchange may have opened in one file and ended in a later one: all ends go first.
        for read in (self._take_ended, self._take_unended):
            for path in self._folder.segments():
                self._read(path, read)
        # Entries are numbered: that many were accepted, whatever the ledger heard before the process died.
        last = msgspec.structs.replace(
            self._page,
            accepted=self._last_seq,
            in_flight=0,
            spooled=0,
            spooled_bytes=0,
            lost=self._left_out + self._unreadable,
            ended_at=datetime.now(UTC),
        )
        self._say((), last)
        ended = len(self._seen) - self._interrupted
        return Adopted(self._folder.process_id, ended, self._interrupted, self._unreadable)

    def _read(self, path: Path, read: Callable[[SegmentReader], None]) -> None:
        with closing(SegmentReader(path)) as reader:
            try:
                read(reader)
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                if not is_unborn(path, error):
                    self._unreadable += 1
                    logger.error("%s of spool %s is damaged: %s", path.name, self._folder.path.name, error)
            self._unreadable += reader.unreadable

    def _take_ended(self, reader: SegmentReader) -> None:
        self._last_seq = max(self._last_seq, reader.last_seq())
        while True:
            rows, last = reader.ended(BATCH_MAX_EXCHANGES, BATCH_MAX_BYTES)
            if last == reader.taken:
                return
            self._keep(rows)
            reader.taken = last

    def _take_unended(self, reader: SegmentReader) -> None:
        # A long runner may have opened in two files.
        for rows in self._batches(row for row in reader.unended() if row.seq not in self._seen):
            self._keep([_interrupted(row) for row in rows])
            self._interrupted += len(rows)

    def _keep(self, rows: Sequence[Row]) -> None:
        self._say([Closed(row.exchange, with_files(self._folder, row)) for row in rows], self._page)
        self._seen.update(row.seq for row in rows)

    def _say(self, batch: Sequence[Closed], page: Page) -> None:
        try:
            self._left_out += self._store(batch, page).left_out
        except Exception as error:
            raise StoreAway from error

    def _batches(self, rows: Iterator[Row]) -> Iterator[list[Row]]:
        batch: list[Row] = []
        held = 0
        for row in rows:
            batch.append(row)
            held += size_bytes(self._folder, row)
            if len(batch) >= BATCH_MAX_EXCHANGES or held >= BATCH_MAX_BYTES:
                yield batch
                batch, held = [], 0
        if batch:
            yield batch


def _interrupted(row: Row) -> Row:
    exchange = msgspec.structs.replace(row.exchange, error_message=INTERRUPTED)
    return msgspec.structs.replace(row, exchange=exchange)
