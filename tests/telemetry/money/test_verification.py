from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db.models import F

from telemetry.models import DayRow, ExchangeRow, HourRow, HourState
from telemetry.money import verification
from telemetry.money.marks import Hour, mark
from telemetry.money.rollups import roll_up
from telemetry.money.sums import Row, rows_of
from telemetry.money.verification import check, hours_between, repair
from telemetry.record.exchange import Closed, Pricing
from telemetry.record.store import store
from telemetry.tasks import verify_rollups
from tests.telemetry.facts import exchange
from tests.telemetry.money.made import NOON, id_at

pytestmark = pytest.mark.django_db(transaction=True)
DOMAIN = UUID(int=1)
HOUR = Hour(NOON, DOMAIN)


def put(at: datetime = NOON, **facts: Any) -> UUID:
    priced = {"cost": Decimal("0.0000000003"), "pricing": Pricing.PRICED}
    one = exchange(**{"id": id_at(at), "started_at": at, "domain_id": DOMAIN} | priced | facts)
    assert store([Closed(one, None)]) == 1
    return one.id


def test_what_is_right_has_no_differences() -> None:
    put()
    roll_up()
    assert check(HOUR) == []
    assert check(Hour(NOON, None)) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [("output_tokens", F("output_tokens") + 1), ("cost", Decimal("0.0000000002")), ("latency_more", 1)],
)
def test_the_smallest_difference_is_found_and_repaired(column: str, value: Any) -> None:
    put()
    roll_up()
    right = list(HourRow.objects.values())
    HourRow.objects.update(**{column: value})
    found = check(HOUR)
    assert found is not None
    assert [difference.column for difference in found] == [column]
    assert f"{column} is {getattr(HourRow.objects.get(), column)} in the sums" in str(found[0])
    assert repair(HOUR)
    assert check(HOUR) == []
    assert list(HourRow.objects.values()) == right


def test_rows_too_many_and_too_few_are_found() -> None:
    put()
    gone = put(model="x", answered_model="")
    roll_up()
    HourRow.objects.exclude(model="x").delete()
    ExchangeRow.objects.filter(id=gone).delete()
    found = check(HOUR)
    assert found is not None
    assert sorted((each.recorded or 0, each.summed or 0) for each in found) == [(0, 1), (1, 0)]


def test_what_is_only_marked_is_no_difference() -> None:
    put()
    assert check(HOUR) == []
    assert HourRow.objects.count() == 1


def test_an_hour_that_keeps_changing_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody stores and sums whenever it has been read."""

    def changing(hour: Hour) -> list[Row]:
        rows = rows_of(hour)
        put()
        roll_up(at_once=True)
        return rows

    put()
    monkeypatch.setattr(verification, "rows_of", changing)
    assert check(HOUR) is None
    monkeypatch.undo()
    assert check(HOUR) == []


def test_a_final_hour_is_not_compared() -> None:
    put()
    roll_up()
    HourState.objects.update(is_final=True)
    ExchangeRow.objects.all().delete()
    assert check(HOUR) is None
    assert HourRow.objects.exists()


def test_hours_are_those_of_the_record_and_of_the_sums() -> None:
    hour = timedelta(hours=1)
    for at in (NOON, NOON + timedelta(minutes=59), NOON + 30 * hour):
        put(at)
    put(NOON + hour, domain_id=None)
    roll_up()
    gone = put(NOON + 2 * hour)
    roll_up()
    ExchangeRow.objects.filter(id=gone).delete()
    everything = [
        Hour(NOON, DOMAIN),
        Hour(NOON + hour, None),
        Hour(NOON + 2 * hour, DOMAIN),
        Hour(NOON + 30 * hour, DOMAIN),
    ]
    assert hours_between(None, datetime.now(UTC)) == everything
    assert hours_between(NOON + timedelta(minutes=61), NOON + 3 * hour) == everything[1:3]
    assert hours_between(None, datetime.now(UTC), [None]) == everything[1:2]


def test_the_nightly_task_tells_what_it_found_and_repairs_it(caplog: pytest.LogCaptureFixture) -> None:
    put(datetime.now(UTC) - timedelta(hours=40))
    put(datetime.now(UTC) - timedelta(hours=60))
    roll_up()
    verify_rollups()
    assert not caplog.records
    HourRow.objects.update(requests=7)
    verify_rollups()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "requests is 7 in the sums, 1 in the record" in caplog.text
    assert sorted(HourRow.objects.values_list("requests", flat=True)) == [1, 7]


def test_what_changed_without_a_mark_is_found() -> None:
    """Such as by hand: that is what the comparison is for."""
    row_id = put()
    roll_up()
    ExchangeRow.objects.filter(id=row_id).update(output_tokens=99)
    found = check(HOUR)
    assert found is not None
    assert [(each.recorded, each.summed) for each in found] == [(99, 20)]
    mark([(row_id, DOMAIN)])
    assert check(HOUR) == []


def test_the_smallest_difference_of_a_day_is_found_and_repaired() -> None:
    put()
    put(NOON + timedelta(hours=1))
    roll_up()
    right = list(DayRow.objects.values())
    DayRow.objects.update(output_tokens=F("output_tokens") + 1)
    found = check(HOUR)
    assert found is not None
    assert [str(difference.hour) for difference in found] == [f"2025-06-11 00:00 of {DOMAIN}"]
    assert str(found[0]).endswith("in those of its hours")
    assert repair(HOUR)
    assert check(HOUR) == []
    assert list(DayRow.objects.values()) == right


def test_a_day_of_final_hours_is_compared_and_repaired_too() -> None:
    put()
    roll_up()
    HourState.objects.update(is_final=True)
    DayRow.objects.all().delete()
    assert check(HOUR)
    assert repair(HOUR)
    assert check(HOUR) is None
    assert list(DayRow.objects.values_list("requests", flat=True)) == [1]
