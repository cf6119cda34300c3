"""All of an installation's tables, from its SQLite file to an empty PostgreSQL: in one transaction, and every row read
back and compared before it ends."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from django.apps import apps
from django.conf import settings
from django.core.management.color import no_style
from django.db import Error, OperationalError, connection, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper as SqliteWrapper

from accounts import rotation
from accounts.crypto import Sealed
from accounts.schema import missing_migrations, unknown_migrations

MADE_BY_MIGRATIONS = {
    "auth.Group",
    "auth.Group_permissions",
    "auth.Permission",
    "contenttypes.ContentType",
    "telemetry.PriceRow",
}
"""What an empty database holds already. The source's own take their place: other rows point to their numbers."""
TOLD_EVERY_ROWS = 10_000
BUSY_SECONDS = 5
SOURCE = "source"


class CannotMove(Exception):
    """In a sentence. Nothing was moved."""


@dataclass(frozen=True, slots=True)
class Table:
    model: type[models.Model]

    @property
    def name(self) -> str:
        return self.model._meta.db_table

    @property
    def columns(self) -> "list[models.Field[Any, Any]]":
        return list(self.model._meta.concrete_fields)

    def select(self, database: BaseDatabaseWrapper) -> str:
        quote = database.ops.quote_name
        return f"SELECT {', '.join(quote(str(each.column)) for each in self.columns)} FROM {quote(self.name)}"  # noqa: S608


Progress = Callable[[Table, int, int], object]
"""Of a table, of how many rows, how many."""


def tables() -> list[Table]:
    found = apps.get_models(include_auto_created=True)
    return [Table(model) for model in found if model._meta.managed and not model._meta.proxy]


@contextmanager
def source(path: Path) -> Iterator[BaseDatabaseWrapper]:
    """The SQLite file, held so that nobody else writes to it, and left as it is. Raises CannotMove."""
    if not path.is_file():
        raise CannotMove(f"{path} is not there. Name the file with --from.")
    where = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": {"timeout": BUSY_SECONDS}}
    with closing(SqliteWrapper({**connection.settings_dict, **where}, alias=SOURCE)) as database:
        connections[SOURCE] = database  # Django's migrations look it up by its name
        try:
            database.cursor().execute("BEGIN IMMEDIATE")
            if missing := missing_migrations(database):
                raise CannotMove(
                    f"{path} is older than this version ({missing[0]} is missing). Run `nexus migrate` without "
                    "DATABASE_URL first."
                )
            if unknown := unknown_migrations(database):
                raise CannotMove(f"{path} was written by a newer version ({unknown[0]}). Install that one first.")
        except OperationalError as error:
            raise CannotMove(f"{path} cannot be held ({error}). Stop whatever uses it, then run this again.") from None
        except Error as error:
            raise CannotMove(f"{path} is not a database of Nexus ({error}).") from None
        yield database


def counts(database: BaseDatabaseWrapper) -> dict[str, int]:
    """Rows by the table's name, of the tables that there are."""
    there = set(database.introspection.table_names())
    with database.cursor() as cursor:
        return {table.name: _count(cursor, table.name) for table in tables() if table.name in there}


def check_empty() -> None:
    """Raises CannotMove where the target holds more than migrations made."""
    held = counts(connection)
    for table in tables():
        if held.get(table.name) and table.model._meta.label not in MADE_BY_MIGRATIONS:
            raise CannotMove(
                f"The database of DATABASE_URL is in use: {table.name} has {held[table.name]:,} rows. Name an empty "
                "one."
            )


def move(origin: BaseDatabaseWrapper, progress: Progress) -> int:
    """How many rows there are now: all or none. Raises CannotMove, and ImproperlyConfigured where our keys do not read
    the secrets."""
    try:
        with transaction.atomic():
            return _move(origin, progress)
    except Error as error:
        raise CannotMove(f"PostgreSQL refused it: {_primary(error)}") from None


def _move(origin: BaseDatabaseWrapper, progress: Progress) -> int:
    check_empty()
    held, total = counts(origin), 0
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(connection.ops.quote_name(table.name) for table in tables())}")
        for table in tables():
            total += _copy(table, origin, partial(progress, table, held[table.name]))
        for statement in connection.ops.sequence_reset_sql(no_style(), [table.model for table in tables()]):
            cursor.execute(statement)
    connection.check_constraints()
    if not settings.ALLOW_UNREADABLE_SECRETS:
        rotation.check_readable()
    return total


def _copy(table: Table, origin: BaseDatabaseWrapper, progress: Callable[[int], object]) -> int:
    """Raises CannotMove where what is read back is not what was written."""
    written, read, columns = Digest(), Digest(), table.columns
    names = ", ".join(connection.ops.quote_name(str(each.column)) for each in columns)
    with connection.cursor() as cursor:
        try:
            with cursor.copy(f"COPY {connection.ops.quote_name(table.name)} ({names}) FROM STDIN") as copy:
                for row in _rows(table, origin):
                    values = _fitting(table, row)
                    copy.write_row(
                        [each.get_db_prep_save(v, connection) for each, v in zip(columns, values, strict=True)]
                    )
                    written.add(values)
                    if written.count % TOLD_EVERY_ROWS == 0:
                        progress(written.count)
        except (Error, psycopg.Error) as error:
            raise CannotMove(f"PostgreSQL refused a row of {table.name}: {_primary(error)}") from None
    for row in _rows(table, connection):
        read.add(row)
    if read != written:
        raise CannotMove(f"{table.name} reads otherwise than it was written: {read.count:,} of {written.count:,} rows.")
    if written.count % TOLD_EVERY_ROWS:
        progress(written.count)
    return written.count


def _rows(table: Table, database: BaseDatabaseWrapper) -> Iterator[list[Any]]:
    """As Python sees them; secrets stay sealed. Raises CannotMove for what has another type than its column."""
    readers = []
    for position, each in enumerate(table.columns):
        column = each.get_col(table.name)
        converters = [*database.ops.get_db_converters(column), *column.get_db_converters(database)]
        readers += [(position, column, convert) for convert in converters]
    with database.chunked_cursor() as cursor:
        cursor.execute(table.select(database))
        for row in map(list, cursor):
            for position, column, convert in readers:
                row[position] = _converted(row[position], convert, column, database)
            yield row


def _converted(value: Any, convert: Callable[..., Any], column: Any, database: BaseDatabaseWrapper) -> Any:
    try:
        found = convert(value, column, database)
    except Exception:
        found = None
    if found is None and value is not None:  # SQLite keeps any value in any column
        name = f"{column.target.model._meta.db_table}.{column.target.column}"
        raise CannotMove(f"{name} holds what Nexus did not write: mend it in the source first.")
    return found


def _fitting(table: Table, row: list[Any]) -> list[Any]:
    """SQLite takes text of any length, and NUL in it; PostgreSQL takes neither. NUL says nothing: the record leaves it
    out too. Raises CannotMove for text that would have to be cut."""
    for column, value in zip(table.columns, row, strict=True):
        if isinstance(value, str) and column.max_length is not None and len(value) > column.max_length:
            key = row[table.columns.index(table.model._meta.pk)]
            raise CannotMove(
                f"{table.name} {key}: {column.column} has {len(value):,} characters, and PostgreSQL takes "
                f"{column.max_length}. Shorten it first."
            )
    return [value.replace("\0", "") if isinstance(value, str) else value for value in row]


class Digest:
    """Of rows in any order."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, row: list[Any]) -> None:
        self.count += 1
        digest = hashlib.blake2b(repr([_plain(value) for value in row]).encode("utf-8", "replace"), digest_size=16)
        self._sum = (self._sum + int.from_bytes(digest.digest())) % 2**128

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digest) and (self.count, self._sum) == (other.count, other._sum)

    __hash__ = None  # type: ignore[assignment] # it changes


def _plain(value: Any) -> Any:
    """The same for what is equal: 1.50 and 1.5, keys of JSON in any order, a moment in any zone."""
    match value:
        case Sealed():
            return value.text
        case dict() | list():
            return json.dumps(value, sort_keys=True)
        case memoryview() | bytearray():
            return bytes(value)
    normalize = getattr(value, "normalize", None)
    if normalize is not None:
        return str(normalize() + 0)
    return value.isoformat() if hasattr(value, "isoformat") else value


def _count(cursor: Any, name: str) -> int:
    cursor.execute(f"SELECT count(*) FROM {connection.ops.quote_name(name)}")  # noqa: S608
    return int(cursor.fetchone()[0])


def _primary(error: Exception) -> str:
    """Its first sentence: the others quote the row."""
    diagnosis = getattr(error if isinstance(error, psycopg.Error) else error.__cause__, "diag", None)
    return str(getattr(diagnosis, "message_primary", None) or type(error).__name__)
