"""By how much a budget can be overspent at most. A request is let in while there is room, and holds what it may cost at
most: so it is by what the last one costs."""

from decimal import Decimal
from typing import NamedTuple

from django.utils import timezone

from accounts.modelrules import model_patterns
from accounts.models import Budget
from telemetry.money import prices
from telemetry.money.ceiling import highest
from telemetry.money.pricing import PriceList, matches


class Overshoot(NamedTuple):
    amount_usd: Decimal
    sentence: str


BEYOND = (
    "Not in it: what the API's own tools (web search, code execution, MCP) make it read again, and, while Redis is "
    "away, that each process counts for itself."
)


def overshoot(budget: Budget, price_list: PriceList | None = None) -> Overshoot:
    if budget.max_request_usd is not None:
        reason = "no request that may cost more is let in"
        return _overshoot(budget.max_request_usd, reason)
    known = (price_list or prices.load()).current(timezone.now())
    allowed = [price for price in known if _is_allowed(price.pattern, budget)] or known
    return _overshoot(highest(allowed), "what the largest request of the dearest model that is allowed may cost")


def _overshoot(amount: Decimal, reason: str) -> Overshoot:
    return Overshoot(amount, f"At most ${amount:,.2f} over: {reason}. {BEYOND}")


def _is_allowed(pattern: str, budget: Budget) -> bool:
    key = budget.client_key
    domain = key.domain if key is not None else budget.domain
    lists = [model_patterns(each.allowed_models) for each in (key, domain) if each is not None]
    return all(_may_meet(pattern, allowed) for allowed in lists if allowed)


def _may_meet(pattern: str, allowed: tuple[str, ...]) -> bool:
    """Whether a model may be meant by both; rather yes than no."""
    named = pattern.replace("*", "")
    return any(
        matches(each, named) or matches(pattern, each.replace("*", "")) or _heads_meet(pattern, each)
        for each in allowed
    )


def _heads_meet(one: str, other: str) -> bool:
    """Of two patterns with stars: one begins as the other does."""
    first, second = one.partition("*"), other.partition("*")
    both = first[1] and second[1]
    return bool(both) and (first[0].startswith(second[0]) or second[0].startswith(first[0]))
