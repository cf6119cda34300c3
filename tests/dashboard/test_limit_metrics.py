"""What Prometheus hears of limits and budgets."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import Budget, ClientKey, Domain, RateLimit
from dashboard.collectors.limits import LimitCollector
from telemetry.limits import overview, reading
from telemetry.limits.memory import MemoryStore
from telemetry.limits.statefile import StateFile
from tests.telemetry.facts import stored_exchange
from tests.telemetry.limits.meters import want

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path) -> Iterator[Path]:
    settings.REDIS_URL, settings.NEXUS_DATA = "", tmp_path
    reading.count_nowhere()
    yield tmp_path
    reading.count_nowhere()


def told() -> dict[str, dict[tuple[str, ...], float]]:
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in LimitCollector().collect()
    }


def test_of_all_keys_the_fullest_counts(domain: Domain, folder: Path) -> None:
    store = MemoryStore()
    for number in range(3):
        key, _ = ClientKey.issue(domain, str(number))
        ClientKey.objects.filter(id=key.id).update(last_used_at=timezone.now())
        row = RateLimit.objects.create(client_key=key, requests_per_minute=4)
        for _ in range(number):
            store.reserve_now(want(overview.of_limit(row).lines[0].meter))
    file = StateFile(store, folder)
    file.open()
    file.close()
    ratios = told()["nexus_limit_use_ratio"]
    assert ratios == {
        ("key", "requests per minute"): 0.5,
        ("domain", "requests per hour"): 0,
        ("domain", "tokens per hour"): 0,
    }


def test_budgets_are_told_by_name_and_two_of_one_name_apart(domain: Domain) -> None:
    for name, amount in (("Team", 10), ("Twice", 1), ("Twice", 2)):
        Budget.objects.create(name=name, domain=domain, amount_usd=Decimal(amount))
    Budget.objects.create(name="Off", domain=domain, amount_usd=Decimal(1), is_active=False)
    stored_exchange(domain_id=domain.id, cost=Decimal("2.5"), pricing="priced")
    found = told()
    assert found["nexus_budget_spent_usd"][("Team",)] == 2.5
    assert found["nexus_budget_amount_usd"][("Team",)] == 10
    assert found["nexus_budget_use_ratio"][("Team",)] == 0.25
    assert len(found["nexus_budget_amount_usd"]) == 3


def test_it_costs_the_same_however_many_keys_there_are(
    domain: Domain, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(30):
        key, _ = ClientKey.issue(domain, str(number))
        ClientKey.objects.filter(id=key.id).update(last_used_at=timezone.now())
    with django_assert_num_queries(4):
        told()
