"""Works out again what was booked: with the prices and the rules of billing as they are now. Usage is never touched.

A row is changed only where it is still what was read, in the transaction that writes its adjustment and marks its hour:
several runs at once, or one that was stopped half-way and began again, end in the same figures.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from accounts.ids import first_id_at, moment_of, new_id
from telemetry.models import Adjustment, BatchUsageRow, ExchangeRow
from telemetry.money import prices
from telemetry.money.charges import Charge, charges_of, models_of
from telemetry.money.marks import mark
from telemetry.money.pricing import Cost, PriceList, matches
from telemetry.record.exchange import Pricing

BATCH_ROWS = 500
LONGEST_REST_SECONDS = 0.1
MODELS_MAX = 200
"""Told of by name; their names come from outside."""
OTHERS = "other models"
FIRST_ID = UUID(int=0)
_READ = (
    "id",
    "started_at",
    "domain_id",
    "model",
    "answered_model",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "web_search_requests",
    "usage_source",
    "usage",
    "is_declined",
    "refusals",
    "pricing",
    "cost",
    "price_ids",
)

Rows = QuerySet[Any]


@dataclass(frozen=True, slots=True)
class Scope:
    """What is looked at; all of it where nothing is said."""

    since: datetime | None = None
    until: datetime | None = None
    """Not included."""
    patterns: tuple[str, ...] = ()
    """Of models that were charged, as prices have them."""
    domain_id: UUID | None = None

    def of(self, rows: Rows, id_name: str, after: UUID) -> Rows:
        """The next ones by id; `id_name` is that of the exchange in whose hour they count."""
        if self.domain_id:
            rows = rows.filter(domain_id=self.domain_id)
        if self.until:
            rows = rows.filter(**{f"{id_name}__lt": first_id_at(self.until)})
        if self.since:
            rows = rows.filter(**{f"{id_name}__gte": first_id_at(self.since)})
        return rows.filter(id__gt=after).order_by("id")

    def concerns(self, charges: Sequence[Charge]) -> bool:
        if not self.patterns:
            return True
        return any(matches(pattern, model) for model in models_of(charges) for pattern in self.patterns)


class Booked(Protocol):
    """A row that has a cost."""

    pricing: str
    cost: Decimal | None
    price_ids: str


@dataclass(frozen=True, slots=True)
class Change:
    row: Any
    model: str
    booked_id: UUID
    """Of the exchange in whose hour it counts."""
    batch_id: str
    cost: Cost

    def apply(self) -> bool:
        """Unless another run was first."""
        row = self.row
        unchanged = type(row)._default_manager.filter(
            pk=row.pk, pricing=row.pricing, cost=row.cost, price_ids=row.price_ids
        )
        cost = self.cost
        return bool(unchanged.update(pricing=cost.pricing.value, cost=cost.amount, price_ids=cost.ids))

    def adjustment(self, run_id: UUID) -> Adjustment:
        return Adjustment(
            run_id=run_id,
            exchange_id=self.booked_id,
            batch_id=self.batch_id,
            model=self.model,
            cost_before=self.row.cost,
            cost_after=self.cost.amount,
            price_ids_before=self.row.price_ids,
            price_ids_after=self.cost.ids,
        )


@dataclass(slots=True)
class Tally:
    """Costs that changed, or would."""

    count: int = 0
    before: Decimal = Decimal(0)
    after: Decimal = Decimal(0)
    unpriced_before: int = 0
    unpriced_after: int = 0

    def add(self, change: Change) -> None:
        self.count += 1
        self.before += change.row.cost or 0
        self.after += change.cost.amount or 0
        self.unpriced_before += change.row.pricing == Pricing.UNPRICED
        self.unpriced_after += change.cost.amount is None


@dataclass(slots=True)
class Report:
    looked_at: int = 0
    total: Tally = field(default_factory=Tally)
    by_model: dict[str, Tally] = field(default_factory=dict)
    reached: UUID = FIRST_ID
    """The last id that was looked at."""
    is_whole: bool = False
    """Nothing is left to look at."""

    def add(self, change: Change) -> None:
        known = change.model in self.by_model or len(self.by_model) < MODELS_MAX
        for tally in (self.total, self.by_model.setdefault(change.model if known else OTHERS, Tally())):
            tally.add(change)

    @property
    def reached_at(self) -> datetime:
        return moment_of(self.reached)


def preview(scope: Scope, seconds: float | None = None) -> Report:
    """What a run would change, as far as *seconds* reach, which is at least a page."""
    return _run(scope, lambda changes: changes, seconds=seconds)


def reprice(
    scope: Scope,
    run_id: UUID | None = None,
    *,
    after: UUID = FIRST_ID,
    seconds: float | None = None,
    on_progress: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Changes what costs something else now, from *after* on and as far as *seconds* reach."""
    run = run_id or new_id()
    return _run(scope, lambda changes: _apply(changes, run), after=after, seconds=seconds, on_progress=on_progress)


def _run(
    scope: Scope,
    apply: Callable[[list[Change]], list[Change]],
    *,
    after: UUID = FIRST_ID,
    seconds: float | None = None,
    on_progress: Callable[[Report], None] = lambda report: None,
) -> Report:
    report, price_list = Report(reached=after), prices.load()
    deadline = None if seconds is None else time.monotonic() + seconds
    if after == FIRST_ID:  # one row for each batch and model: few, and done at once
        for changes in _of_batches(scope, price_list):
            _tell(report, apply(changes))
    while rows := list(scope.of(ExchangeRow.objects.only(*_READ), "id", report.reached)[:BATCH_ROWS]):
        started = time.monotonic()
        applied = apply(list(_changes(rows, scope, price_list)))
        _tell(report, applied)
        report.looked_at += len(rows)
        report.reached = rows[-1].id
        on_progress(report)
        if deadline is not None and time.monotonic() >= deadline:
            return report
        if applied:
            # As long as it has kept others waiting: SQLite has one writer, and those who wait for it do not queue.
            time.sleep(min(time.monotonic() - started, LONGEST_REST_SECONDS))
    report.is_whole = True
    return report


def _tell(report: Report, changes: list[Change]) -> None:
    for change in changes:
        report.add(change)


def _apply(changes: list[Change], run_id: UUID) -> list[Change]:
    """Returns those that it made; by id, so that no two runs can wait for each other."""
    if not changes:
        return []
    with transaction.atomic():
        made = [change for change in changes if change.apply()]
        Adjustment.objects.bulk_create(change.adjustment(run_id) for change in made)
        mark((change.booked_id, change.row.domain_id) for change in made)
    return made


def _changes(rows: Sequence[ExchangeRow], scope: Scope, price_list: PriceList) -> Iterator[Change]:
    for row in rows:
        charges = charges_of(row)
        cost = price_list.cost(charges, row.started_at)
        if _differs(row, cost) and scope.concerns(charges):
            yield Change(row, row.answered_model or row.model, row.id, "", cost)


def _of_batches(scope: Scope, price_list: PriceList) -> Iterator[list[Change]]:
    """Of message batches: their stored charges at the prices of the day on which the batch was created."""
    after = FIRST_ID
    while rows := list(scope.of(BatchUsageRow.objects.select_related("batch"), "booked_id", after)[:BATCH_ROWS]):
        yield list(_changes_of_batches(rows, scope, price_list))
        after = rows[-1].id


def _changes_of_batches(rows: Sequence[BatchUsageRow], scope: Scope, price_list: PriceList) -> Iterator[Change]:
    for row in rows:
        charges = row.charged()
        cost = price_list.cost(charges, row.batch.created_at)
        if _differs(row, cost) and scope.concerns(charges):
            yield Change(row, row.model, row.booked_id, row.batch_id, cost)


def _differs(row: Booked, cost: Cost) -> bool:
    """What was recorded before there were prices has no cost, though it is free."""
    if row.pricing == cost.pricing == Pricing.FREE:
        return False
    return (row.pricing, row.cost, row.price_ids) != (cost.pricing, cost.amount, cost.ids)
