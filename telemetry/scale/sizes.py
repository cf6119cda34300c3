"""What the record takes on disk, and how fast it grows."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from time import perf_counter

from django.db import connection
from django.utils import timezone

from telemetry.fiction.cast import cast
from telemetry.fiction.traffic import Traffic
from telemetry.record.exchange import Closed
from telemetry.record.store import store
from telemetry.scale.plans import TABLES

BATCH = 500
INDEXES = """
SELECT indexrelname, pg_relation_size(indexrelid) FROM pg_stat_user_indexes
WHERE relname = %s ORDER BY 2 DESC
"""


@dataclass(frozen=True, slots=True)
class TableSize:
    table: str
    rows: int
    heap: int
    """With what is kept out of line (TOAST)."""
    indexes: dict[str, int]

    @property
    def total(self) -> int:
        return self.heap + sum(self.indexes.values())


def table_sizes() -> list[TableSize]:
    return [_size(table) for table in sorted(TABLES)]


def stored_per_second(batches: int, *, with_bodies: bool) -> float:
    """Writes made-up exchanges into the record, the way of real ones, over one connection."""
    closed = _closed(with_bodies)
    seconds = 0.0
    for _ in range(batches):
        batch = list(islice(closed, BATCH))
        began = perf_counter()
        store(batch)
        seconds += perf_counter() - began
    return batches * BATCH / seconds


def _closed(with_bodies: bool) -> Iterator[Closed]:
    now = timezone.now()
    traffic = Traffic(cast(5), seed=int(now.timestamp()), bodies_share=float(with_bodies))
    for made in traffic.exchanges(10_000_000, now, now + timedelta(days=1)):
        if with_bodies == (made.bodies is not None):
            yield Closed(made.exchange, made.bodies)


def _size(table: str) -> TableSize:
    with connection.cursor() as cursor:
        cursor.execute(INDEXES, [table])
        indexes = dict(cursor.fetchall())
        cursor.execute(f"SELECT count(*), pg_table_size('{table}') FROM {table}")  # noqa: S608 (a table of ours)
        rows, heap = cursor.fetchone()
    return TableSize(table, rows, heap, indexes)
