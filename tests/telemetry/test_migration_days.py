"""Migration 0013: days are summed from the hours that are there, as the roll-up does it."""

from datetime import timedelta
from importlib import import_module
from uuid import UUID

import pytest
from django.apps import apps

from telemetry.models import DayRow
from telemetry.money.rollups import roll_up
from telemetry.record.exchange import Closed
from telemetry.record.store import store
from tests.telemetry.facts import exchange
from tests.telemetry.money.made import NOON, id_at
from tests.telemetry.money.plain import sums_by_day, sums_stored

pytestmark = pytest.mark.django_db(transaction=True)


def test_days_of_a_record_that_has_hours_already() -> None:
    for domain_id in (None, UUID(int=1)):
        for hours in (0, 1, 11, 12, 90):
            moment = NOON + timedelta(hours=hours)
            store([Closed(exchange(id=id_at(moment), started_at=moment, domain_id=domain_id), None)])
    roll_up()
    right = list(DayRow.objects.order_by("id").values())
    assert len(right) == 6
    DayRow.objects.all().delete()
    import_module("telemetry.migrations.0013_days").sum_days(apps, None)
    assert list(DayRow.objects.order_by("id").values()) == right
    assert sums_stored(DayRow) == sums_by_day()
