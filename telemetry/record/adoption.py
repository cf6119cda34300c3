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

from telemetry.record.exchange import Closed
from telemetry.record.folder import Folder, folders
from telemetry.record.ledger import Page, node_name
from telemetry.record.segment import Row, SegmentReader
from telemetry.record.spool import with_files

logger = logging.getLogger(__name__)

BATCH_MAX_EXCHANGES = 500
BATCH_MAX_BYTES = 16_000_000
INTERRUPTED = "The process of Nexus that carried this exchange was killed before it ended."

Store = Callable[[Sequence[Closed], Page], object]


@dataclass(frozen=True, slots=True)
class Adopted:
    """What one spool held."""

    process_id: UUID
    ended: int
    interrupted: int
    damaged_files: int


def adopt(root: Path, store: Store) -> list[Adopted]:
    """Stores what lies in spools without an owner, and removes them. Raises what `store` raises: then the rest stays
    for the next time."""
    adopted = []
    for path in folders(root):
        folder = Folder.claim(path)
        if folder is None:
            continue
        try:
            done = _Adoption(folder, store).run()
        except BaseException:
            folder.release()
            raise
        folder.remove()
        logger.warning("adopted the spool of a process that is gone: %s", done)
        adopted.append(done)
    return adopted


class _Adoption:
    def __init__(self, folder: Folder, store: Store) -> None:
        self._folder = folder
        self._store = store
        self._last_seq = 0
        self._seen: set[int] = set()
        self._interrupted = self._damaged = 0
        self._page = Page(
            process_id=folder.process_id,
            node=node_name(),
            started_at=datetime.fromtimestamp(folder.path.stat().st_ctime, UTC),
            in_flight=0,
            spooled=0,
        )

    def run(self) -> Adopted:
        # An exchange may have opened in one file and ended in a later one: all ends go first.
        for read in (self._take_ended, self._take_unended):
            for path in self._folder.segments():
                self._read(path, read)
        # Entries are numbered: that many were accepted, whatever the ledger heard before the process died.
        self._store((), msgspec.structs.replace(self._page, accepted=self._last_seq, ended_at=datetime.now(UTC)))
        ended = len(self._seen) - self._interrupted
        return Adopted(self._folder.process_id, ended, self._interrupted, self._damaged)

    def _read(self, path: Path, read: Callable[[SegmentReader], None]) -> None:
        with closing(SegmentReader(path)) as reader:
            try:
                read(reader)
            except sqlite3.DatabaseError as error:
                self._damaged += 1
                logger.error("a damaged spool file is set aside as %s: %s", self._folder.set_aside(path), error)

    def _take_ended(self, reader: SegmentReader) -> None:
        self._last_seq = max(self._last_seq, reader.last_seq())
        while True:
            rows, last = reader.ended(BATCH_MAX_EXCHANGES, BATCH_MAX_BYTES)
            if last == reader.taken:
                return
            self._keep(rows)
            self._seen.update(row.seq for row in rows)
            reader.taken = last

    def _take_unended(self, reader: SegmentReader) -> None:
        for rows in _batches(row for row in reader.unended() if row.seq not in self._seen):
            self._keep(
                [
                    msgspec.structs.replace(
                        row, exchange=msgspec.structs.replace(row.exchange, error_message=INTERRUPTED)
                    )
                    for row in rows
                ]
            )
            self._seen.update(row.seq for row in rows)  # a long runner may have opened in two files
            self._interrupted += len(rows)

    def _keep(self, rows: Sequence[Row]) -> None:
        self._store([Closed(row.exchange, with_files(self._folder, row)) for row in rows], self._page)


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    held = 0
    for row in rows:
        batch.append(row)
        held += row.bodies.size_bytes if row.bodies else 0
        if len(batch) >= BATCH_MAX_EXCHANGES or held >= BATCH_MAX_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
