"""Writes closed exchanges to the database: one statement a table for a whole batch, twice the same harmlessly.

Rows are written from the facts directly, not through model instances: the ORM cost more than the database.
"""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec
from django.db import DataError, IntegrityError, connection, transaction

from telemetry.models import BodyRow, ExchangeRow, LedgerRow
from telemetry.record.exchange import Closed, Exchange
from telemetry.record.insert import insert
from telemetry.record.ledger import Page, Stored
from telemetry.record.piecestore import PieceStore
from telemetry.record.shelf import BODY_COLUMNS, Kept, Shelf

POISON = (DataError, IntegrityError, ValueError, OverflowError)
"""What a row is to blame for, not the database: no later try would end otherwise."""
ROW_COLUMNS = (*Exchange.__struct_fields__, "request_preview", "response_preview")
logger = logging.getLogger(__name__)


class Store:
    """For one thread: it remembers which pieces are stored."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._pieces = PieceStore()

    def __call__(self, batch: Sequence[Closed], page: Page | None = None) -> Stored:
        """Raises what the database raises while it is away; nothing of the batch is stored then. A row that the
        database cannot take at all is named in the log and left out: it must not hold up the others."""
        try:
            stored = self._stored(batch, page)
        except Exception:
            connection.close()  # it may be broken
            raise
        if connection.vendor == "postgresql" and not connection.in_atomic_block:
            connection.close()  # back to the pool: nothing is held while nothing is written
        return stored

    def _stored(self, batch: Sequence[Closed], page: Page | None) -> Stored:
        self._pieces.start()
        kept = [self._shelf.kept(closed, self._pieces) for closed in batch]
        self._pieces.write()
        try:
            return _store_together(kept, page, left_out=0)
        except POISON:
            new = sum(_stored_alone(each, page) for each in kept)
            stored = _store_together((), page, left_out=len(kept) - new)
            return stored if page else Stored(new, len(kept) - new)


def _store_together(kept: Sequence[Kept], page: Page | None, left_out: int) -> Stored:
    with transaction.atomic():
        new = insert(ExchangeRow, ROW_COLUMNS, [_row(each) for each in kept])
        insert(BodyRow, BODY_COLUMNS, [each.body for each in kept if each.body])
        total = new if page is None else LedgerRow.write(page, new, left_out)
    return Stored(total, left_out)


def _stored_alone(kept: Kept, page: Page | None) -> bool:
    try:
        _store_together((kept,), page, left_out=0)
    except POISON as error:
        logger.error("exchange %s cannot be stored: %s", kept.exchange.id, type(error).__name__)
        return False
    return True


def _row(kept: Kept) -> tuple[Any, ...]:
    return (*msgspec.structs.astuple(kept.exchange), kept.request_preview, kept.response_preview)


def store(batch: Sequence[Closed]) -> int:
    """Stores a batch that comes from no spool; how many exchanges are new."""
    return Store(Shelf())(batch).total
