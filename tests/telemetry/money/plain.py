"""The sums of hours in plain Python, from exchanges as they are stored: what SQL has to come to as well."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from telemetry.models import BatchUsageRow, DayRow, ExchangeRow, HourRow
from telemetry.models.hours import AMOUNTS, FIRST_BYTE, LATENCY
from telemetry.money.histogram import BOUNDS_MS
from telemetry.money.marks import hour_of

Dimensions = tuple[Any, ...]
Sums = dict[str, Any]
IDENTITY = ("id", "hour", "domain_id", "client_key_id", "credential_id", "model", "kind")


def sums_by_dimensions() -> dict[Dimensions, Sums]:
    """Of all that is on record, without what is 0."""
    found: dict[Dimensions, Sums] = defaultdict(lambda: defaultdict(int))
    for row in ExchangeRow.objects.all():
        model = row.answered_model or row.model
        dimensions = (hour_of(row.id), row.domain_id, row.client_key_id, row.credential_id, model, row.kind)
        _add(found[dimensions], _of_exchange(row))
        found[dimensions]["last_started_at"] = max(
            found[dimensions]["last_started_at"] or row.started_at, row.started_at
        )
    for booked in BatchUsageRow.objects.all():
        hour = hour_of(booked.booked_id)
        dimensions = (hour, booked.domain_id, booked.client_key_id, booked.credential_id, booked.model, "batch")
        _add(found[dimensions], _of_batch(booked))
        found[dimensions]["last_started_at"] = hour
    return {dimensions: {name: value for name, value in sums.items() if value} for dimensions, sums in found.items()}


def sums_by_day() -> dict[Dimensions, Sums]:
    """The same, of days."""
    found: dict[Dimensions, Sums] = {}
    for (hour, *dimensions), sums in sums_by_dimensions().items():
        day = found.setdefault((hour.replace(hour=0), *dimensions), defaultdict(int))
        last = max(day["last_started_at"] or sums["last_started_at"], sums["last_started_at"])
        _add(day, ((name, value) for name, value in sums.items() if name != "last_started_at"))
        day["last_started_at"] = last
    return found


def sums_stored(of: type[DayRow | HourRow] = HourRow) -> dict[Dimensions, Sums]:
    names = [field.attname for field in of._meta.concrete_fields if field.attname not in IDENTITY]
    return {
        tuple(getattr(row, name) for name in IDENTITY[1:]): {
            name: value for name in names if (value := getattr(row, name))
        }
        for row in of._default_manager.all()
    }


def _add(sums: Sums, values: Iterable[tuple[str, Any]]) -> None:
    for name, value in values:
        sums[name] += value


def _of_exchange(row: ExchangeRow) -> list[tuple[str, Any]]:
    values = [
        ("requests", 1),
        ("streams", row.is_stream),
        (row.outcome, 1),
        (_status(row.status), 1),
        ("unpriced", row.pricing == "unpriced"),
        ("estimated", row.usage_source == "estimated"),
        ("cost", row.cost or Decimal(0)),
        *((name, getattr(row, name)) for name in AMOUNTS),
    ]
    if row.attempts:
        values.append((LATENCY[bisect_left(BOUNDS_MS, row.duration_ms)], 1))
        if row.first_byte_ms is not None:
            values.append((FIRST_BYTE[bisect_left(BOUNDS_MS, row.first_byte_ms)], 1))
    return values


def _of_batch(row: BatchUsageRow) -> list[tuple[str, Any]]:
    names = [name for name in AMOUNTS if name.endswith("_tokens")]
    return [
        ("unpriced", row.pricing == "unpriced"),
        ("cost", row.cost or Decimal(0)),
        ("web_search_requests", row.web_search_requests),
        *((name, getattr(row, name)) for name in names),
    ]


def _status(status: int | None) -> str:
    if status is None:
        return "status_none"
    return "status_429" if status == 429 else f"status_{status // 100}xx"
