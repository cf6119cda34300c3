"""Compares the sums by the hour with the record that they were made from, and the sums by the day with those."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction

from accounts.ids import first_id_at
from telemetry.models import BatchUsageRow, ExchangeRow, HourMark, HourRow, HourState
from telemetry.models.hours import DIMENSIONS
from telemetry.money.days import day_of, rows_from_hours, stored, sum_day
from telemetry.money.marks import Hour, hour_of, start_of_hour
from telemetry.money.rollups import roll_up_hour
from telemetry.money.sums import COLUMNS, HOUR, Row, of_domain, rows_of
from telemetry.record.retention import domain_ids_in
from telemetry.snapshot import snapshot

TRIES = 3
"""With an hour that changes while it is compared."""


class Difference(NamedTuple):
    hour: Hour
    """Or the first of a day."""
    dimensions: dict[str, Any]
    column: str
    recorded: Any
    """What the record comes to; None where it has nothing of these dimensions."""
    summed: Any
    source: str = "the record"

    def __str__(self) -> str:
        of = ", ".join(f"{name} {value}" for name, value in self.dimensions.items() if value not in (None, ""))
        return f"{self.hour} ({of}): {self.column} is {self.summed} in the sums, {self.recorded} in {self.source}"


def hours_between(since: datetime | None, until: datetime, domain_ids: list[UUID | None] | None = None) -> list[Hour]:
    """Those of the domains that the record or the sums have something of, the oldest first."""
    start = start_of_hour(since or datetime.fromisoformat("1970-01-01T00:00:00+00:00"))
    found: set[Hour] = set()
    for domain_id in _domain_ids() if domain_ids is None else domain_ids:
        starts = (*_recorded(ExchangeRow.objects, "id", domain_id, start, until), *_booked(domain_id, start, until))
        found.update(Hour(each, domain_id) for each in (*starts, *_summed(domain_id, start, until)))
    return sorted(found, key=lambda hour: (hour.start, str(hour.domain_id)))


def check(hour: Hour) -> list[Difference] | None:
    """Where its sums differ from the record, and those of its day from the hours; None where that cannot be said of the
    hour: it is final, or it keeps changing, and then it is marked anyway."""
    found = _check_hour(hour)
    return found or _differences_of_day(day_of(hour)) or found


def _check_hour(hour: Hour) -> list[Difference] | None:
    for _ in range(TRIES):
        state = HourState.objects.filter(id=hour.id).values_list("stamp", "is_final").first()
        if state and state[1]:
            return None
        found = _differences(hour)
        if not found:
            return []
        is_marked = HourMark.objects.filter(state_id=hour.id).exists()
        if not is_marked and state == HourState.objects.filter(id=hour.id).values_list("stamp", "is_final").first():
            return found
        roll_up_hour(hour)
    return None


def repair(hour: Hour) -> bool:
    """Whether its sums are right now."""
    if not roll_up_hour(hour):
        if not HourState.objects.filter(id=hour.id, is_final=True).exists():
            return False
        with transaction.atomic():
            sum_day(hour)
    return check(hour) in ([], None)


def _differences(hour: Hour) -> list[Difference]:
    recorded = {row[0]: row for row in rows_of(hour)}
    rows = HourRow.objects.filter(of_domain(hour.domain_id), hour=hour.start)
    summed = {row[0]: row for row in rows.values_list(*COLUMNS)}
    return list(_between(hour, recorded, summed))


def _differences_of_day(day: Hour) -> list[Difference]:
    with snapshot():
        hours = {row[0]: row for row in rows_from_hours(day)}
        summed = {row[0]: row for row in stored(day).values_list(*COLUMNS)}
    return [found._replace(source="those of its hours") for found in _between(day, hours, summed)]


def _between(hour: Hour, recorded: dict[UUID, Row], summed: dict[UUID, Row]) -> Iterator[Difference]:
    for row_id in sorted(recorded.keys() | summed.keys()):
        yield from _differences_of(hour, recorded.get(row_id), summed.get(row_id))


def _differences_of(hour: Hour, recorded: Any, summed: Any) -> Iterator[Difference]:
    row = recorded or summed
    dimensions = {name: row[COLUMNS.index(name)] for name in DIMENSIONS}
    if recorded is None or summed is None:
        place = COLUMNS.index("requests")
        yield Difference(hour, dimensions, "requests", *(each and each[place] for each in (recorded, summed)))
        return
    for place, column in enumerate(COLUMNS):
        if recorded[place] != summed[place]:
            yield Difference(hour, dimensions, column, recorded[place], summed[place])


def _recorded(rows: Any, id_name: str, domain_id: UUID | None, since: datetime, until: datetime) -> Iterator[datetime]:
    """Leaps through the index from hour to hour."""
    ids = rows.filter(of_domain(domain_id)).order_by(id_name).values_list(id_name, flat=True)
    end = first_id_at(until)
    found = ids.filter(**{f"{id_name}__gte": first_id_at(since)}).first()
    while found is not None and found < end:
        yield hour_of(found)
        found = ids.filter(**{f"{id_name}__gte": first_id_at(hour_of(found) + HOUR)}).first()


def _booked(domain_id: UUID | None, since: datetime, until: datetime) -> Iterator[datetime]:
    return _recorded(BatchUsageRow.objects, "booked_id", domain_id, since, until)


def _summed(domain_id: UUID | None, since: datetime, until: datetime) -> list[datetime]:
    rows = HourRow.objects.filter(of_domain(domain_id), hour__gte=since, hour__lt=until)
    return list(rows.order_by().values_list("hour", flat=True).distinct())


def _domain_ids() -> list[UUID | None]:
    found = {domain_id for model in (ExchangeRow, BatchUsageRow, HourRow) for domain_id in domain_ids_in(model)}
    return [None, *sorted(found)]
