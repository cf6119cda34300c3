"""Puts made-up exchanges into the tables, as fast as the database takes them."""

from collections.abc import Iterable, Iterator
from itertools import islice

from django.db import connection, transaction

from telemetry.fiction.traffic import Made
from telemetry.models import ExchangeRow
from telemetry.money.marks import mark
from telemetry.record.exchange import Closed, columns
from telemetry.record.insert import Row, insert
from telemetry.record.store import ROW_COLUMNS, store

BATCH = 10_000
BATCH_WITH_BODIES = 500


def load(made: Iterable[Made]) -> Iterator[int]:
    """Tells after each batch how many exchanges it had. Bodies go the way of real ones, with pieces and all."""
    stories = iter(made)
    while batch := list(islice(stories, BATCH)):
        silent = [one for one in batch if one.bodies is None]
        with transaction.atomic():
            _write([_row(one) for one in silent])
            mark((one.exchange.id, one.exchange.domain_id) for one in silent)
        talked = [Closed(one.exchange, one.bodies) for one in batch if one.bodies is not None]
        for start in range(0, len(talked), BATCH_WITH_BODIES):
            store(talked[start : start + BATCH_WITH_BODIES])
        yield len(batch)


def _row(one: Made) -> Row:
    return (*columns(one.exchange), one.request_preview, one.response_preview)


def _write(rows: list[Row]) -> None:
    if connection.vendor != "postgresql":
        insert(ExchangeRow, ROW_COLUMNS, rows)
        return
    names = ", ".join(map(connection.ops.quote_name, ROW_COLUMNS))
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY {ExchangeRow._meta.db_table} ({names}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)
