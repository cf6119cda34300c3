"""Writes closed exchanges to the database: one statement a table for a whole batch, twice the same harmlessly.

Rows are written from the facts directly, not through model instances: the ORM cost more than the database.
"""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec
from django.db import DataError, IntegrityError, connection, transaction

from telemetry.exports.outbox import enter
from telemetry.models import BodyRow, ExchangeRow, LedgerRow
from telemetry.money.batches import book
from telemetry.money.marks import mark
from telemetry.notices import candidates
from telemetry.record.exchange import COLUMNS, Closed, columns
from telemetry.record.insert import insert
from telemetry.record.ledger import Page, Stored
from telemetry.record.piecestore import PieceStore
from telemetry.record.shelf import BODY_COLUMNS, Kept, Shelf

POISON = (DataError, IntegrityError, ValueError, ArithmeticError)
"""What a row is to blame for, not the database: no later try would end otherwise."""
ROW_COLUMNS = (*COLUMNS, "request_preview", "response_preview")
FREE_TEXTS = ("query", "user_agent", "error_message", "usage")
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
            return _store_together(kept, page)
        except POISON:
            stored = [_stored_somehow(each, page) for each in kept]
            total = _store_together((), page).total if page else sum(stored)
            return Stored(total, left_out=len(stored) - sum(stored))


def _store_together(kept: Sequence[Kept], page: Page | None) -> Stored:
    with transaction.atomic():
        candidates.note(each.exchange for each in kept)
        new = insert(ExchangeRow, ROW_COLUMNS, [_row(each) for each in kept])
        insert(BodyRow, BODY_COLUMNS, [each.body for each in kept if each.body])
        mark((each.exchange.id, each.exchange.domain_id) for each in kept)
        enter(each.exchange for each in kept)
        book([each.exchange for each in kept if each.exchange.batch_id])
        total = new if page is None else LedgerRow.write(page, new)
    return Stored(total)


def _stored_somehow(kept: Kept, page: Page | None) -> bool:
    """What it costs of a batch is given up last: a text or a body may be what the database does not take."""
    if _stored_alone(kept, page, "is stored without its words"):
        return True
    bare = _bare(kept)
    if bare.exchange.batch_results is not None:
        if _stored_alone(bare, page, "is stored, and its message batch is not booked"):
            return True
        bare = Kept(msgspec.structs.replace(bare.exchange, batch_results=None))
    return _stored_alone(bare, page, "cannot be stored")


def _stored_alone(kept: Kept, page: Page | None, problem: str) -> bool:
    try:
        _store_together((kept,), page)
    except POISON as error:
        logger.error("exchange %s %s: %s", kept.exchange.id, problem, type(error).__name__)
        return False
    return True


def _bare(kept: Kept) -> Kept:
    """The figures alone."""
    return Kept(msgspec.structs.replace(kept.exchange, **dict.fromkeys(FREE_TEXTS, "")))


def _row(kept: Kept) -> tuple[Any, ...]:
    return (*columns(kept.exchange), kept.request_preview, kept.response_preview)


def store(batch: Sequence[Closed]) -> int:
    """Stores a batch that comes from no spool; how many exchanges are new."""
    return Store(Shelf())(batch).total
