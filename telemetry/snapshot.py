"""Several queries that see the same moment."""

import contextlib
from collections.abc import Iterator

from django.db import connection


@contextlib.contextmanager
def snapshot() -> Iterator[None]:
    """All queries see the same moment, and nobody has to wait: SQLite's usual transactions here lock out writers."""
    if connection.in_atomic_block:  # its owner decides
        yield
        return
    is_postgres = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if is_postgres else "BEGIN DEFERRED")
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")
