"""Inserts many rows with one statement, as tuples. What is there already stays as it is."""

from collections.abc import Callable, Sequence
from typing import Any

from django.db import connection
from django.db.models import DateField, DateTimeField, Field, ForeignKey, Model, UUIDField

Row = tuple[Any, ...]
NOTHING = "DO NOTHING"


def insert(model: type[Model], columns: Sequence[str], rows: Sequence[Row], on_conflict: str = NOTHING) -> int:
    """How many rows are new or were changed."""
    if not rows:
        return 0
    prepare = _preparer(model, columns)
    quote = connection.ops.quote_name
    names = ", ".join(quote(name) for name in columns)
    marks = ", ".join(["%s"] * len(columns))
    sql = f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES ({marks}) ON CONFLICT {on_conflict}"  # noqa: S608 (names of our own columns)
    with connection.cursor() as cursor:
        cursor.executemany(sql, [prepare(row) for row in rows])
        return max(0, int(cursor.rowcount))


def _preparer(model: type[Model], columns: Sequence[str]) -> Callable[[Row], Row]:
    """Turns values into what this database takes, where it does not take Python's own."""
    if connection.features.has_native_uuid_field:
        return tuple
    by_column = {str(field.column): _target(field) for field in model._meta.concrete_fields}
    fields = [by_column[column] for column in columns]
    uuids = [index for index, field in enumerate(fields) if isinstance(field, UUIDField)]
    times = [index for index, field in enumerate(fields) if isinstance(field, DateTimeField)]
    days = [index for index, field in enumerate(fields) if type(field) is DateField]
    as_time = connection.ops.adapt_datetimefield_value

    def prepare(row: Row) -> Row:
        values = list(row)
        for index in uuids:
            value = values[index]
            values[index] = value and value.hex
        for index in times:
            values[index] = as_time(values[index])
        for index in days:
            values[index] = values[index].isoformat()
        return tuple(values)

    return prepare


def _target(field: "Field[Any, Any]") -> "Field[Any, Any]":
    return field.target_field if isinstance(field, ForeignKey) else field
