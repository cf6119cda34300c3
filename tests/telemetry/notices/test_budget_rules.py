"""What is told of budgets: each percentage once in a period, and when one will not last."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings

from accounts.ids import first_id_at
from accounts.models import Budget, ClientKey, Domain
from telemetry.models import Delivery, ExchangeRow, Incident
from telemetry.money.rollups import roll_up
from telemetry.notices.finding import Finding
from telemetry.notices.incidents import evaluate
from telemetry.notices.rules import budget_forecast, budget_threshold
from telemetry.record.exchange import Pricing
from tests.telemetry.facts import stored_exchange
from tests.telemetry.notices.told import FAKE_WEBHOOK, configure

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def budget(domain: Domain) -> Budget:
    return Budget.objects.create(name="Team", domain=domain, amount_usd=Decimal(10), period="day")


def pay(domain: Domain, usd: str, at: datetime = NOON, **facts: Any) -> Any:
    exchange_id = first_id_at(at + timedelta(milliseconds=ExchangeRow.objects.count()))
    values = {"domain_id": domain.id, "cost": Decimal(usd), "pricing": Pricing.PRICED, **facts}
    return stored_exchange(id=exchange_id, started_at=at, **values)


def passed(now: datetime = NOON) -> list[str]:
    return [finding.label for finding in budget_threshold.RULE(now)]


def test_each_percentage_that_is_passed_is_found(domain: Domain, budget: Budget) -> None:
    assert passed() == []
    pay(domain, "5")
    assert passed() == ["Budget Team: 50 %"]
    pay(domain, "5")
    found = {finding.label: finding for finding in budget_threshold.RULE(NOON)}
    assert list(found) == ["Budget Team: 50 %", "Budget Team: 80 %", "Budget Team: 100 %"]
    assert [each.severity for each in found.values()] == ["warning", "warning", "critical"]
    assert "refused until 2026-11-11 00:00 UTC" in found["Budget Team: 100 %"].sentence


def test_each_is_told_once_in_a_period_and_its_end_is_not(domain: Domain, budget: Budget, settings: Settings) -> None:
    configure(settings, webhook_url=FAKE_WEBHOOK)
    row = pay(domain, "9")
    for minutes in range(3):
        evaluate([budget_threshold.RULE], NOON + minutes * MINUTE)
    assert Delivery.objects.count() == 2
    ExchangeRow.objects.filter(id=row.id).update(cost=Decimal(1))  # a new price
    for minutes in range(3, 20):
        evaluate([budget_threshold.RULE], NOON + minutes * MINUTE)
    assert {incident.state for incident in Incident.objects.all()} == {"open"}
    tomorrow = NOON + timedelta(days=1)
    for minutes in range(5):
        evaluate([budget_threshold.RULE], tomorrow + minutes * MINUTE)
    assert {incident.state for incident in Incident.objects.all()} == {"resolved"}
    assert Delivery.objects.count() == 2
    pay(domain, "9", tomorrow)
    evaluate([budget_threshold.RULE], tomorrow + 6 * MINUTE)
    assert Delivery.objects.count() == 4


def test_each_key_has_its_own(domain: Domain, budget: Budget) -> None:
    Budget.objects.update(each="key")
    ada, bob = (ClientKey.issue(domain, name)[0] for name in ("Ada", "Bob"))
    pay(domain, "6", client_key_id=ada.id)
    pay(domain, "4", client_key_id=bob.id)
    roll_up(at_once=True)
    assert passed() == ["Budget Team of the client key Ada: 50 %"]


@pytest.mark.parametrize("each", ["user", "session"])
def test_so_have_users_and_sessions(domain: Domain, budget: Budget, each: str) -> None:
    Budget.objects.update(each=each)
    for name in ("ada", ""):
        whose: dict[str, Any] = {f"{each}_id": name}
        pay(domain, "6", NOON, **whose)
    assert passed() == [f"Budget Team of the {each} ada: 50 %"]


def test_a_budget_that_is_off_or_has_no_percentages_says_nothing(domain: Domain, budget: Budget) -> None:
    pay(domain, "20")
    Budget.objects.update(thresholds="")
    assert passed() == []
    Budget.objects.update(thresholds="100", is_active=False)
    assert passed() == []


def foretold(now: datetime = NOON) -> list[Finding]:
    return list(budget_forecast.RULE(now))


def test_a_budget_that_will_not_last_is_told(domain: Domain, budget: Budget) -> None:
    pay(domain, "6", NOON - timedelta(hours=6))  # in 12 hours; the other 4 USD last for 8 more
    (finding,) = foretold()
    assert "will be spent on Tuesday 2026-11-10" in finding.sentence
    assert finding.facts["spent_at"] == "2026-11-10T21:00:00+00:00"


def test_one_that_lasts_for_its_period_is_not(domain: Domain, budget: Budget) -> None:
    pay(domain, "4", NOON - timedelta(hours=6))  # in 12 hours; the other 6 USD last for 18 more
    assert foretold() == []


def test_the_pace_is_that_of_the_last_day(domain: Domain, budget: Budget) -> None:
    Budget.objects.update(period="month", amount_usd=Decimal(100))
    pay(domain, "50", NOON - timedelta(days=5))
    assert foretold() == []
    pay(domain, "24", NOON - timedelta(hours=6))
    (finding,) = foretold()
    assert "on Wednesday 2026-11-11" in finding.sentence


def test_nothing_is_foretold_of_a_budget_of_which_little_is_spent_or_all(domain: Domain, budget: Budget) -> None:
    Budget.objects.update(period="month", amount_usd=Decimal(100))
    pay(domain, "20", NOON - timedelta(hours=6))
    assert foretold() == []
    pay(domain, "80", NOON - timedelta(hours=5))
    assert foretold() == []
