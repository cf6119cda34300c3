"""Marks of the hours that have to be summed anew. Whoever stores or changes exchanges leaves them, in the same
transaction: then no change is missed, and the sums may be made at any time later."""

import os
import threading
from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from socket import gethostname
from typing import NamedTuple
from uuid import UUID

from accounts.ids import moment_of, new_id
from telemetry.models import HourMark
from telemetry.record.insert import insert

HOUR_MS = 3_600_000
COLUMNS = ("id", "state_id", "hour", "domain_id", "stamp")
AGAIN = '("id") DO UPDATE SET "stamp" = EXCLUDED."stamp"'


class Hour(NamedTuple):
    """Of one domain, or of the requests that belong to none."""

    start: datetime
    domain_id: UUID | None

    @property
    def id(self) -> UUID:
        return id_of(self)

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H}:00 of {self.domain_id or 'no domain'}"


def mark(exchanges: Iterable[tuple[UUID, UUID | None]]) -> None:
    """Of each exchange its id and the id of its domain. Call it within the transaction that stores or changes them."""
    one_of_each = {((exchange_id.int >> 80) // HOUR_MS, domain_id): exchange_id for exchange_id, domain_id in exchanges}
    mark_hours(Hour(hour_of(exchange_id), domain_id) for (_, domain_id), exchange_id in one_of_each.items())


def mark_hours(hours: Iterable[Hour]) -> None:
    writer, stamp = _writer(), new_id()
    rows = [(id_of(hour, writer), hour.id, *hour, stamp) for hour in hours]
    insert(HourMark, COLUMNS, sorted(rows), AGAIN)  # in one order, so that no two can wait for each other


def hour_of(exchange_id: UUID) -> datetime:
    """In which it began, as its id says: so an hour is a span of ids."""
    return start_of_hour(moment_of(exchange_id))


def start_of_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def id_of(hour: Hour, *of: object) -> UUID:
    """The same for the same. Only the last of *of* may hold spaces."""
    words = " ".join(map(str, (f"{hour.start:%Y%m%d%H}", hour.domain_id, *of)))
    return UUID(bytes=blake2b(words.encode(errors="surrogatepass"), digest_size=16).digest())


def _writer() -> str:
    """Two that are called the same would only wait for each other."""
    return f"{gethostname()} {os.getpid()} {threading.get_ident()}"
