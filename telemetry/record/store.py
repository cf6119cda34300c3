"""Writes closed exchanges to the database: one statement a table for a whole batch, twice the same harmlessly.

Rows are written from the facts directly, not through model instances: the ORM cost more than the database.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import DateTimeField, Field, ForeignKey, Model, UUIDField

from telemetry.models import BodyRow, ExchangeRow
from telemetry.record import bodies
from telemetry.record.exchange import Bodies, Closed, Exchange

POISON = (DataError, IntegrityError, ValueError, OverflowError)
"""What a row is to blame for, not the database: no later try would end otherwise."""
logger = logging.getLogger(__name__)


def store(batch: Sequence[Closed]) -> int:
    """How many could be stored. Raises what the database raises while it is away; nothing of the batch is stored then.
    A row that the database cannot take at all is named in the log and left out: it must not hold up the others."""
    try:
        _store_together(batch)
        return len(batch)
    except POISON:
        return sum(_stored_alone(closed) for closed in batch)
    except Exception:
        connection.close()
        raise


def _store_together(batch: Sequence[Closed]) -> None:
    with transaction.atomic():
        _insert(ExchangeRow, ROW_COLUMNS, (_row(closed.exchange) for closed in batch))
        bodies_kept = (_body(closed.exchange, closed.bodies) for closed in batch if closed.bodies)
        _insert(BodyRow, BODY_COLUMNS, bodies_kept)


def _stored_alone(closed: Closed) -> bool:
    try:
        _store_together((closed,))
    except POISON as error:
        logger.error("exchange %s cannot be stored: %s", closed.exchange.id, type(error).__name__)
        return False
    return True


ROW_COLUMNS = (*Exchange.__struct_fields__, "request_preview", "response_preview")
BODY_COLUMNS = (
    "exchange_id",
    "domain_id",
    "codec",
    "request_headers",
    "response_headers",
    "request",
    "response",
    "request_is_whole",
    "response_is_whole",
    "is_redacted",
    "stored_bytes",
)


def _row(exchange: Exchange) -> tuple[Any, ...]:
    return (*msgspec.structs.astuple(exchange), "", "")


def _body(exchange: Exchange, kept: Bodies) -> tuple[Any, ...]:
    request, response = bodies.compress(kept.request), bodies.compress(b"".join(kept.response))
    return (
        exchange.id,
        exchange.domain_id,
        bodies.ZSTD,
        msgspec.json.encode(kept.request_headers).decode(),
        msgspec.json.encode(kept.response_headers).decode(),
        request,
        response,
        kept.request_is_whole,
        kept.response_is_whole,
        False,
        len(request) + len(response),
    )


def _insert(model: type[Model], columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    prepare = _preparer(model, columns)
    prepared = [prepare(row) for row in rows]
    if not prepared:
        return
    quote = connection.ops.quote_name
    names = ", ".join(quote(name) for name in columns)
    marks = ", ".join(["%s"] * len(columns))
    sql = f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608 (names of our own columns)
    with connection.cursor() as cursor:
        cursor.executemany(sql, prepared)


def _preparer(model: type[Model], columns: Sequence[str]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Turns values into what this database takes, where it does not take Python's own."""
    if connection.features.has_native_uuid_field:
        return tuple
    by_column = {str(field.column): _target(field) for field in model._meta.concrete_fields}
    uuids = [index for index, column in enumerate(columns) if isinstance(by_column[column], UUIDField)]
    times = [index for index, column in enumerate(columns) if isinstance(by_column[column], DateTimeField)]
    as_time = connection.ops.adapt_datetimefield_value

    def prepare(row: tuple[Any, ...]) -> tuple[Any, ...]:
        values = list(row)
        for index in uuids:
            value = values[index]
            values[index] = value and value.hex
        for index in times:
            values[index] = as_time(values[index])
        return tuple(values)

    return prepare


def _target(field: "Field[Any, Any]") -> "Field[Any, Any]":
    return field.target_field if isinstance(field, ForeignKey) else field
