from importlib import import_module

import pytest
from django.apps import apps

from telemetry.models import PriceRow
from telemetry.money import prices
from telemetry.money.pricing import PriceList


@pytest.fixture
def seeded(db: None) -> PriceList:
    """The prices that an installation begins with, also where a test before has emptied the database."""
    if not PriceRow.objects.exists():
        import_module("telemetry.migrations.0004_money").seed(apps, None)
    return prices.load()
