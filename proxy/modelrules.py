"""Which models a client key may use: its own list and its domain's, and the rule for models that have no price."""

from collections.abc import Iterable
from datetime import UTC, datetime

from accounts.facts import ClientKeyFacts
from accounts.modelrules import Unpriced
from proxy.errors import Forbidden
from telemetry.money.pricing import PriceList, matches

NAMED_MAX = 10


def has_rules(key: ClientKeyFacts) -> bool:
    return bool(key.allowed_models or key.domain.allowed_models) or key.unpriced is Unpriced.REFUSE


def check_model(model: str, key: ClientKeyFacts, prices: PriceList) -> None:
    """Raises Forbidden."""
    for whose, name, patterns in (
        ("key", f"The client key “{key.name}”", key.allowed_models),
        ("domain", f"The domain {key.domain.host}", key.domain.allowed_models),
    ):
        if patterns and not any(matches(pattern, model) for pattern in patterns):
            raise Forbidden(f"{name} may not use the model {_shown(model)}, but {_list(patterns)}.", f"{whose} models")
    if key.unpriced is Unpriced.REFUSE and prices.price(model, datetime.now(UTC)) is None:
        raise Forbidden(
            f"The model {_shown(model)} has no price here, and such models are refused. An operator of Nexus adds one "
            "in the admin under Prices.",
            "unpriced model",
        )


def _list(patterns: Iterable[str]) -> str:
    first, more = list(patterns)[:NAMED_MAX], len(list(patterns)) - NAMED_MAX
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def _shown(model: str) -> str:
    return f"“{model[:100]}”"
