"""A limit on how long a question may keep the database busy: the record is written there at the same time."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection, transaction

QUERY_SECONDS = 10


class TookTooLong(Exception):
    """The sentence is for whoever asked."""


@contextmanager
def time_limited(seconds: float = QUERY_SECONDS) -> Iterator[None]:
    """For all queries within, each. SQLite, which is for one laptop, has no such limit. Raises TookTooLong."""
    if connection.vendor != "postgresql":
        yield
        return
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{seconds * 1000:.0f}"])
            yield
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != "57014":  # query_canceled
            raise
        raise TookTooLong(f"That took longer than {seconds:g} seconds. Ask for less: a later `since`.") from None
