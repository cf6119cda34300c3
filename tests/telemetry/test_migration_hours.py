"""Migration 0006: what was on record before there were sums is marked, each hour of each domain once."""

from datetime import timedelta
from importlib import import_module
from uuid import UUID

import pytest
from django.apps import apps

from telemetry.models import HourMark
from telemetry.money.rollups import roll_up
from telemetry.record.exchange import Closed
from telemetry.record.store import store
from tests.telemetry.facts import exchange
from tests.telemetry.money.made import NOON, id_at
from tests.telemetry.money.plain import sums_by_dimensions, sums_stored

pytestmark = pytest.mark.django_db(transaction=True)


def test_every_hour_with_exchanges_is_marked() -> None:
    minutes = (0, 59, 60, 600)
    for domain_id in (None, UUID(int=1), UUID(int=2)):
        for minute in minutes:
            moment = NOON + timedelta(minutes=minute)
            store([Closed(exchange(id=id_at(moment), started_at=moment, domain_id=domain_id), None)])
    HourMark.objects.all().delete()
    import_module("telemetry.migrations.0006_hours").mark_all(apps, None)
    assert HourMark.objects.count() == 9
    assert roll_up() == 9
    assert sums_stored() == sums_by_dimensions()
