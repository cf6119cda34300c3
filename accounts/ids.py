"""Identifiers: UUIDv7, so that rows sort by time and inserts stay at the end of an index."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    return uuid7()
