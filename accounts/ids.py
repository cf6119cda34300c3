"""Identifiers: UUIDv7, so that rows sort by time and inserts stay at the end of an index."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def new_id() -> UUID:
    return uuid7()


def first_id_at(moment: datetime) -> UUID:
    """The smallest id that can be made at that moment: `id >= first_id_at(t)` asks for what began at `t` or later.
    `moment` is aware; it counts to the millisecond (RFC 9562, 5.7)."""
    milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | 0x2 << 62)


def moment_of(an_id: UUID) -> datetime:
    """When an id of ours was made, to the millisecond: what `first_id_at` takes back."""
    return _EPOCH + timedelta(milliseconds=an_id.int >> 80)
