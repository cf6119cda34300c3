"""Books message batches: each once, when its results are first read whole, at batch prices, to the key that created
it.

What is said of a batch may come in any order, by several processes at once, and twice: creations and results wait in
the spools of the processes that saw them. Everything here happens in the transaction that stores the exchanges.
"""

import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from accounts.ids import new_id
from telemetry.models import BatchRow, BatchUsageRow, ExchangeRow
from telemetry.money import prices
from telemetry.money.charges import COUNTS, Charge, models_of
from telemetry.money.marks import mark
from telemetry.money.pricing import PriceList
from telemetry.record.exchange import BatchResults, Exchange, Outcome

logger = logging.getLogger(__name__)

CREATION = ("POST", "/v1/messages/batches")
OWNER = ("domain_id", "client_key_id", "credential_id")
_COLUMNS = {"web_searches": "web_search_requests"}
"""Of counts that are called otherwise in a row."""


def book(exchanges: Sequence[Exchange]) -> None:
    """Of exchanges that are about batches; within their transaction."""
    # By batch, so that no two processes wait for each other.
    for exchange in sorted(exchanges, key=lambda each: (each.batch_id, each.id)):
        if (exchange.method, exchange.path) == CREATION:
            _note_creation(exchange)
        elif exchange.batch_results is not None:
            _note_results(exchange, exchange.batch_results)


def _note_creation(exchange: Exchange) -> None:
    creation = _said_by(exchange) | {"created_by": exchange.id}
    if not _made(exchange.batch_id, creation):
        _hand_over(exchange.batch_id, creation)


def _hand_over(batch_id: str, creation: dict[str, Any]) -> None:
    """The creation of a batch that is known already: if only by its reader, it is the creator's from now on."""
    before = BatchRow.objects.get(id=batch_id)
    if not BatchRow.objects.filter(id=batch_id, created_by=None).update(**creation):
        return
    batch = BatchRow.objects.get(id=batch_id)
    if batch.booked_id is None:
        return
    price_list = prices.load()
    for row in batch.usage.all():
        _price(row, batch, price_list)
        row.save(update_fields=[*OWNER, "pricing", "cost", "price_ids", "assumed_cost"])
    _release(batch)
    mark((batch.booked_id, domain_id) for domain_id in {before.domain_id, batch.domain_id})


def _note_results(exchange: Exchange, results: BatchResults) -> None:
    """Results that did not come to their end say nothing: the next whole reading does."""
    if exchange.outcome is not Outcome.COMPLETED or exchange.status != 200:
        return
    _made(exchange.batch_id, _said_by(exchange))
    unbooked = BatchRow.objects.filter(id=exchange.batch_id, booked_id=None)
    if not results.is_whole:
        unbooked.update(unreadable=results.unreadable)
        logger.error("batch %s is not booked: %s lines could not be read", exchange.batch_id, results.unreadable)
    elif unbooked.update(booked_id=exchange.id, booked_at=exchange.started_at, unreadable=0, **_counts(results)):
        _book(BatchRow.objects.get(id=exchange.batch_id), exchange.id, results.charges)


def _book(batch: BatchRow, booked_id: UUID, charges: Sequence[Charge]) -> None:
    price_list = prices.load()
    rows = [_usage_row(batch, booked_id, model, charges) for model in models_of(charges)]
    for row in rows:
        _price(row, batch, price_list)
    BatchUsageRow.objects.bulk_create(rows)
    _release(batch)
    mark([(booked_id, batch.domain_id)])


def _release(batch: BatchRow) -> None:
    """What its creation set aside in budgets, now that the cost is known."""
    if batch.created_by is not None:
        ExchangeRow.objects.filter(id=batch.created_by).update(assumed_cost=None)
        mark([(batch.created_by, batch.domain_id)])


def _made(batch_id: str, values: dict[str, Any]) -> bool:
    """Whether the row is a new one: what another process made stays."""
    _, is_new = BatchRow.objects.get_or_create(id=batch_id, defaults=values)
    return is_new


def _said_by(exchange: Exchange) -> dict[str, Any]:
    return {
        "created_at": exchange.started_at,
        "credential_source": exchange.credential_source,
        **{name: getattr(exchange, name) for name in OWNER},
    }


def _counts(results: BatchResults) -> dict[str, int]:
    return {name: getattr(results, name) for name in ("succeeded", "errored", "canceled", "expired")}


def _usage_row(batch: BatchRow, booked_id: UUID, model: str, charges: Sequence[Charge]) -> BatchUsageRow:
    own = [charge for charge in charges if charge.terms.model == model]
    sums = {_COLUMNS.get(name, name): sum(getattr(charge, name) for charge in own) for name in COUNTS}
    return BatchUsageRow(
        id=new_id(), batch=batch, booked_id=booked_id, model=model, charges=msgspec.json.encode(own).decode(), **sums
    )


def _price(row: BatchUsageRow, batch: BatchRow, price_list: PriceList) -> None:
    """Whose it is, and at the prices of which day, is its batch's matter."""
    for name in OWNER:
        setattr(row, name, getattr(batch, name))
    cost = price_list.cost(row.charged(), batch.created_at)
    row.pricing, row.cost, row.price_ids = cost.pricing.value, cost.amount, cost.ids
    row.assumed_cost = price_list.assumed(row.charged(), batch.created_at) if cost.amount is None else None
