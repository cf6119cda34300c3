"""Which models a client key may use."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from accounts.facts import ClientKeyFacts, DomainFacts
from accounts.ids import new_id
from accounts.modelrules import Unpriced
from proxy.errors import Forbidden
from proxy.modelrules import check_model, has_rules
from telemetry.money.pricing import Price, PriceList, Rates

PRICES = PriceList(
    [
        Price(
            id=new_id(),
            pattern="claude-haiku-*",
            valid_from=datetime(2026, 1, 1, tzinfo=UTC),
            rates=Rates(*[Decimal(1)] * 5),
        )
    ]
)


def key(of_key: tuple[str, ...] = (), of_domain: tuple[str, ...] = (), **rules: Any) -> ClientKeyFacts:
    domain = DomainFacts(new_id(), "claude.example.com", True, False, allowed_models=of_domain)
    return ClientKeyFacts(new_id(), "Ada", domain, "", None, None, allowed_models=of_key, **rules)


def test_a_key_without_rules_may_use_any_model() -> None:
    assert not has_rules(key())
    check_model("anything at all", key(), PRICES)


def test_a_key_may_use_what_its_list_and_its_domains_both_allow() -> None:
    both = key(("claude-haiku-*", "claude-opus-4-8"), ("claude-*-4-*",))
    assert has_rules(both)
    check_model("claude-haiku-4-5", both, PRICES)
    check_model("claude-opus-4-8", both, PRICES)


@pytest.mark.parametrize(
    ("model", "refused_by", "named"),
    [
        ("claude-sonnet-4-6", "key models", "client key “Ada”"),
        ("claude-haiku-5-5", "domain models", "domain claude.example.com"),
        ("Claude-Haiku-4-5", "key models", "client key “Ada”"),
        ("claude-haiku-4-5 ", "domain models", "domain claude.example.com"),
    ],
)
def test_another_model_is_refused_by_name(model: str, refused_by: str, named: str) -> None:
    with pytest.raises(Forbidden) as refused:
        check_model(model, key(("claude-haiku-*", "claude-opus-4-8"), ("claude-*-4-5", "claude-opus-*")), PRICES)
    assert refused.value.refused_by == refused_by
    assert named in refused.value.message
    assert model[:100] in refused.value.message


def test_a_model_without_a_price_passes_or_is_refused_as_the_key_says() -> None:
    check_model("claude-saga-1", key(), PRICES)
    with pytest.raises(Forbidden, match="has no price here"):
        check_model("claude-saga-1", key(unpriced=Unpriced.REFUSE), PRICES)
    check_model("claude-haiku-5-5", key(unpriced=Unpriced.REFUSE), PRICES)


def test_a_long_list_is_not_recited() -> None:
    with pytest.raises(Forbidden, match="and 5 more"):
        check_model("claude-opus-5", key(tuple(f"claude-{number}" for number in range(15))), PRICES)
