"""The sums by the day: those of the day's hours, made anew wherever one of them was."""

from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import Max, QuerySet, Sum

from telemetry.models import DayRow, HourRow
from telemetry.models.hours import DIMENSIONS
from telemetry.money.marks import Hour, id_of
from telemetry.money.sums import COLUMNS, REPLACE, SUMS, Row, as_usd, cost_sum, of_domain
from telemetry.record.insert import insert

DAY = timedelta(days=1)


def day_of(hour: Hour) -> Hour:
    """Its first hour stands for the day."""
    return Hour(hour.start.replace(hour=0), hour.domain_id)


def sum_day(hour: Hour) -> None:
    """Sums the day of that hour from its hours. Call it within the transaction that changed them."""
    day = day_of(hour)
    _one_at_a_time(day)
    rows = rows_from_hours(day)
    stored(day).exclude(id__in=[row[0] for row in rows])._raw_delete(connection.alias)
    insert(DayRow, COLUMNS, rows, REPLACE)


def rows_from_hours(day: Hour) -> list[Row]:
    """What the sums of its hours come to."""
    hours = HourRow.objects.filter(of_domain(day.domain_id), hour__gte=day.start, hour__lt=day.start + DAY).order_by()
    sums = {f"all_{name}": Sum(name) for name in SUMS}
    costs = {f"all_{name}": cost_sum(name) for name in ("cost", "assumed_cost")}
    groups = hours.values_list(*DIMENSIONS).annotate(**sums, **costs, last=Max("last_started_at"))
    return [_row(day, *group) for group in groups]


def stored(day: Hour) -> "QuerySet[DayRow]":
    return DayRow.objects.filter(of_domain(day.domain_id), hour=day.start)


def _row(day: Hour, key_id: Any, credential_id: Any, model: str, kind: str, *rest: Any) -> Row:
    *sums, cost, assumed_cost, last_started_at = rest
    row_id = id_of(day, key_id, credential_id, kind, model)
    dimensions = (key_id, credential_id, model, kind)
    return (row_id, *day, *dimensions, *map(int, sums), as_usd(cost), as_usd(assumed_cost), last_started_at)


def _one_at_a_time(day: Hour) -> None:
    """Who sums another hour of this day waits until this transaction ends, and then reads what it wrote. SQLite has one
    writer at a time anyway."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [int.from_bytes(day.id.bytes[:8], signed=True)])
