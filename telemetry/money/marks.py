"""Marks of the hours that have to be summed anew. Whoever stores or changes exchanges leaves them, in the same
transaction: then no change is missed, and the sums may be made at any time later."""

import os
import threading
from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from socket import gethostname
from uuid import UUID

from accounts.ids import moment_of, new_id
from telemetry.models import HourMark
from telemetry.record.insert import insert

COLUMNS = ("id", "hour", "domain_id", "stamp")
AGAIN = '("id") DO UPDATE SET "stamp" = EXCLUDED."stamp"'


def mark(exchanges: Iterable[tuple[UUID, UUID | None]]) -> None:
    """Of each exchange its id and the id of its domain. Call it within the transaction that stores or changes them."""
    writer, stamp = _writer(), new_id()
    hours = {(hour_of(exchange_id), domain_id) for exchange_id, domain_id in exchanges}
    rows = [(_id(hour, domain_id, writer), hour, domain_id, stamp) for hour, domain_id in hours]
    insert(HourMark, COLUMNS, sorted(rows), AGAIN)  # in one order, so that no two of them can wait for each other


def hour_of(exchange_id: UUID) -> datetime:
    """The hour in which it began, as its id says: so an hour is a span of ids."""
    return moment_of(exchange_id).replace(minute=0, second=0, microsecond=0)


def _writer() -> str:
    """Two that are called the same would only wait for each other."""
    return f"{gethostname()} {os.getpid()} {threading.get_ident()}"


def _id(hour: datetime, domain_id: UUID | None, writer: str) -> UUID:
    return UUID(bytes=blake2b(f"{hour:%Y%m%d%H} {domain_id} {writer}".encode(), digest_size=16).digest())
