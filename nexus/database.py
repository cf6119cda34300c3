"""The database as processes find it that start: away for a moment yet, or not brought up to date."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator

from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import OperationalError, connection

from accounts.schema import missing_migrations

logger = logging.getLogger(__name__)
MIGRATION_LOCK = 0x6E65787573  # "nexus"
PAUSE_SECONDS = 0.5


def migrate(wait_seconds: float = 0, *, verbosity: int = 1) -> None:
    """Brings the database up to date; whoever else does so at this moment is waited for. Raises ImproperlyConfigured
    where it cannot be reached within that time."""
    wait_until_reachable(wait_seconds)
    with _alone():
        call_command("migrate", interactive=False, verbosity=verbosity)


def wait_until_reachable(wait_seconds: float) -> None:
    """Raises ImproperlyConfigured where it is not, by then."""
    _until(_is_reachable, wait_seconds, "The database cannot be reached. Is DATABASE_URL right, and does it run?")


def wait_until_migrated(wait_seconds: float) -> None:
    """Raises ImproperlyConfigured where it is not, by then."""
    wait_until_reachable(wait_seconds)
    _until(_is_migrated, wait_seconds, "The database is older than this version. Run `nexus migrate`.")


def _until(look: Callable[[], bool], seconds: float, failure: str) -> None:
    deadline, is_told = time.monotonic() + seconds, False
    while not look():
        if time.monotonic() >= deadline:
            raise ImproperlyConfigured(failure)
        if not is_told:
            logger.warning("%s Waiting for up to %.0f s.", failure, seconds)
            is_told = True
        time.sleep(PAUSE_SECONDS)


def _is_reachable() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except OperationalError:
        return False
    return True


def _is_migrated() -> bool:
    return not missing_migrations()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Two that migrate at once would make the same table twice. On SQLite there is one process."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])
