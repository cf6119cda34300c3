"""Families of models, and what budgets assume of a model without a price."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from accounts.ids import new_id
from telemetry.money.charges import Charge, Terms
from telemetry.money.families import family_of
from telemetry.money.pricing import Price, PriceList, Rates

NOW = datetime(2026, 11, 1, tzinfo=UTC)
MILLION = 1_000_000


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("claude-opus-4-8", "opus"),
        ("claude-3-5-haiku-20241022", "haiku"),
        ("claude-haiku-4-5*", "haiku"),
        ("us.anthropic.claude-sonnet-5-v1:0", "sonnet"),
        ("claude-fable-5-1@20260901", "fable"),
        ("CLAUDE-Mythos-5", "mythos"),
        ("claude-latest", ""),
        ("5-1", ""),
        ("", ""),
    ],
)
def test_the_family_is_the_word_in_the_name(model: str, family: str) -> None:
    assert family_of(model) == family


def price(pattern: str, output: int, *, since: datetime = NOW - timedelta(days=9), fast: int | None = None) -> Price:
    rates = Rates(Decimal(output) / 5, Decimal(output), Decimal(0), Decimal(0), Decimal(0))
    factor = None if fast is None else Decimal(fast)
    return Price(id=new_id(), pattern=pattern, valid_from=since, rates=rates, fast_factor=factor)


def used(model: str, *, is_fast: bool = False) -> Charge:
    return Charge(terms=Terms(model=model, is_fast=is_fast), output_tokens=MILLION)


def test_a_model_without_a_price_is_assumed_to_cost_what_the_dearest_of_its_family_does() -> None:
    prices = PriceList([price("claude-opus-5", 25), price("claude-opus-3", 75), price("claude-fable-5", 100)])
    assert prices.assumed([used("claude-opus-9")], NOW) == Decimal(75)


def test_a_price_that_has_ended_or_not_begun_is_not_the_dearest() -> None:
    old = price("claude-opus-5", 90, since=NOW - timedelta(days=30))
    now = price("claude-opus-5", 25, since=NOW - timedelta(days=10))
    later = price("claude-opus-6", 99, since=NOW + timedelta(seconds=1))
    prices = PriceList([old, now, later])
    assert prices.assumed([used("claude-opus-9")], NOW) == Decimal(25)
    assert prices.assumed([used("claude-opus-9")], NOW + timedelta(seconds=1)) == Decimal(99)


def test_a_family_without_a_price_costs_what_the_dearest_of_all_does() -> None:
    prices = PriceList([price("claude-haiku-5", 5), price("claude-fable-5", 50)])
    assert prices.assumed([used("claude-saga-1")], NOW) == Decimal(50)


def test_what_has_a_price_costs_that_and_only_the_rest_is_assumed() -> None:
    prices = PriceList([price("claude-haiku-5", 5), price("claude-opus-5", 25)])
    assert prices.assumed([used("claude-haiku-5"), used("claude-opus-9")], NOW) == Decimal(30)


def test_fast_mode_without_a_factor_takes_the_largest_known_one() -> None:
    prices = PriceList([price("claude-haiku-5", 5), price("claude-opus-5", 25, fast=6)])
    assert prices.assumed([used("claude-haiku-5", is_fast=True)], NOW) == Decimal(30)


def test_without_any_price_nothing_is_assumed() -> None:
    assert PriceList([]).assumed([used("claude-opus-9")], NOW) is None
