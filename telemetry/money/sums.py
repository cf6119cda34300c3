"""Sums over the record and over the hours, in SQL, exact on every database."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import BigIntegerField, Count, F, Max, Q, QuerySet, Sum, Value
from django.db.models.functions import Cast, Coalesce, NullIf, Round

from accounts.ids import first_id_at
from telemetry.models import BatchUsageRow, ExchangeRow, HourKind, Outcome, Pricing
from telemetry.models.hours import AMOUNTS, COUNTS, FIRST_BYTE, LATENCY
from telemetry.money.histogram import limits_ms
from telemetry.money.marks import Hour, id_of
from telemetry.record.usage import UsageSource

HOUR = timedelta(hours=1)
COST_PLACES = 10
SUMS = (*COUNTS, *AMOUNTS)
COLUMNS = (
    *("id", "hour", "domain_id", "client_key_id", "credential_id", "model", "kind"),
    *(*SUMS, "cost", "last_started_at"),
)
"""Of `HourRow`."""
Row = tuple[Any, ...]
_MODEL = Coalesce(NullIf("answered_model", Value("")), "model")
_NOTHING = dict.fromkeys(SUMS, 0)
_OF_BATCHES = [name for name in AMOUNTS if name.endswith("_tokens")] + ["web_search_requests"]


def cost_sum(name: str = "cost", **options: Any) -> Sum:
    """In units of 1e-10 USD, as whole numbers: SQLite holds decimals as floats, whose sum would drift."""
    return Sum(Cast(Round(F(name) * Value(10**COST_PLACES)), BigIntegerField()), default=0, **options)


def as_usd(units: int) -> Decimal:
    return Decimal(units).scaleb(-COST_PLACES)


def rows_of(hour: Hour) -> list[Row]:
    """What the record says of an hour now, with one query for its exchanges and one for its batches."""
    return [*_exchanges(hour), *_batches(hour)]


def _exchanges(hour: Hour) -> list[Row]:
    grouped = (
        _within(hour, ExchangeRow.objects, "id")
        .values("client_key_id", "credential_id", "kind", model_name=_MODEL)
        .annotate(**{f"all_{name}": sums for name, sums in _SUMS_OF_EXCHANGES.items()}, all_cost=cost_sum())
        .annotate(last=Max("started_at"))
        .order_by()
    )
    return [_row(hour, group, {name: group[f"all_{name}"] for name in SUMS}, group["last"]) for group in grouped]


def _batches(hour: Hour) -> list[Row]:
    grouped = (
        _within(hour, BatchUsageRow.objects, "booked_id")
        .values("client_key_id", "credential_id", model_name=F("model"), kind=Value(HourKind.BATCH.value))
        .annotate(**{f"all_{name}": Sum(name) for name in _OF_BATCHES}, all_cost=cost_sum())
        .annotate(all_unpriced=Count("id", filter=Q(pricing=Pricing.UNPRICED)))
        .order_by()
    )
    summed = (*_OF_BATCHES, "unpriced")
    return [
        _row(hour, group, _NOTHING | {name: group[f"all_{name}"] for name in summed}, hour.start) for group in grouped
    ]


def _within(hour: Hour, rows: Any, id_name: str) -> "QuerySet[Any]":
    span = {f"{id_name}__gte": first_id_at(hour.start), f"{id_name}__lt": first_id_at(hour.start + HOUR)}
    return rows.filter(of_domain(hour.domain_id), **span)  # type: ignore[no-any-return]


def of_domain(domain_id: UUID | None) -> Q:
    return Q(domain_id=domain_id) if domain_id else Q(domain_id__isnull=True)


def _row(hour: Hour, group: dict[str, Any], sums: dict[str, int], last_started_at: datetime) -> Row:
    dimensions = (group["client_key_id"], group["credential_id"], group["model_name"], group["kind"])
    row_id = id_of(hour, *dimensions[:2], group["kind"], group["model_name"])
    return (
        *(row_id, *hour, *dimensions),
        *(*(sums[name] for name in SUMS), as_usd(group["all_cost"]), last_started_at),
    )


def _statuses() -> dict[str, Q]:
    conditions = {
        "status_2xx": Q(status__lt=300),
        "status_3xx": Q(status__gte=300, status__lt=400),
        "status_4xx": Q(status__gte=400, status__lt=500) & ~Q(status=429),
        "status_429": Q(status=429),
        "status_5xx": Q(status__gte=500),
        "status_none": Q(status__isnull=True),
    }
    return conditions


def _buckets(columns: tuple[str, ...], of: str) -> dict[str, Q]:
    """Only of what was sent: what is refused at once says nothing of how long answers take."""
    found = {}
    for bucket, column in enumerate(columns):
        shorter, longer = limits_ms(bucket)
        found[column] = Q(attempts__gt=0, **{f"{of}__isnull": False})
        if shorter is not None:
            found[column] &= Q(**{f"{of}__gt": shorter})
        if longer is not None:
            found[column] &= Q(**{f"{of}__lte": longer})
    return found


def _counted() -> dict[str, Q]:
    return {
        "streams": Q(is_stream=True),
        **{outcome: Q(outcome=outcome) for outcome in Outcome.values},
        **_statuses(),
        "unpriced": Q(pricing=Pricing.UNPRICED),
        "estimated": Q(usage_source=UsageSource.ESTIMATED.value),
        **_buckets(LATENCY, "duration_ms"),
        **_buckets(FIRST_BYTE, "first_byte_ms"),
    }


_SUMS_OF_EXCHANGES: dict[str, Any] = {
    "requests": Count("*"),
    **{name: Count("id", filter=condition) for name, condition in _counted().items()},
    **{name: Sum(name) for name in AMOUNTS},
}
