"""Something was used for which there is no price: the sums of money are too small."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from accounts.ids import first_id_at
from telemetry.models import BatchUsageRow, ExchangeRow, Limits, Pricing, Severity
from telemetry.notices.finding import Finding
from telemetry.notices.rules.rule import WatchedRule

ROWS_MAX = 10_000


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    times: dict[str, list[datetime]] = {}
    for model, at in (*_of_exchanges(now, limits), *_of_batches(now, limits)):
        times.setdefault(model or "unknown", []).append(at)
    for model, started in times.items():
        if len(started) >= limits.minimum:
            yield _finding(model, started, limits)


def _of_exchanges(now: datetime, limits: Limits) -> Iterator[tuple[str, datetime]]:
    rows = _unpriced(ExchangeRow.objects, "id", now, limits).values_list("answered_model", "model", "started_at")
    return ((answered or asked, started_at) for answered, asked, started_at in rows[:ROWS_MAX])


def _of_batches(now: datetime, limits: Limits) -> Iterable[tuple[str, datetime]]:
    """Message batches, in which one model may cost more than all that was asked singly."""
    rows = _unpriced(BatchUsageRow.objects, "booked_id", now, limits)
    return rows.filter(batch__booked_at__isnull=False).values_list("model", "batch__booked_at")[:ROWS_MAX]


def _unpriced(rows: Any, id_name: str, now: datetime, limits: Limits) -> "QuerySet[Any]":
    span = {f"{id_name}__gte": first_id_at(now - limits.window), f"{id_name}__lt": first_id_at(now)}
    found: QuerySet[Any] = rows.filter(pricing=Pricing.UNPRICED, **span).order_by(f"-{id_name}")
    return found


def _finding(model: str, started: list[datetime], limits: Limits) -> Finding:
    return Finding(
        rule=RULE.name,
        object=model,
        label=f"{model} has no price",
        severity=limits.severity,
        sentence=f"There is no price for what was used of {model}: it is missing from all costs.",
        advice="Add a price in the admin under Prices, then run `nexus reprice`.",
        facts={"requests": len(started), "since": f"{min(started):%Y-%m-%d %H:%M} UTC"},
    )


RULE = WatchedRule(
    "unpriced_model",
    "A model has no price",
    Limits(window=timedelta(days=1), severity=Severity.WARNING),
    find,
    "Minimum: requests in the window.",
)
