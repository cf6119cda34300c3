"""What a program is told that a limit or a budget keeps out: which one, how full it is, and when to come again."""

import math
from datetime import UTC, datetime

from accounts.facts import BudgetFacts
from proxy.admission import Asker
from proxy.errors import BudgetSpent, Forbidden, LimitReached
from telemetry.limits.meters import Dimension, Meter, as_usd
from telemetry.limits.store import Denied, Use


def check_size(budget: BudgetFacts, asker: Asker) -> None:
    most, allowed = as_usd(asker.estimate.cost_units), budget.max_request_usd
    if allowed is not None and most > allowed:
        raise Forbidden(
            f"This request may cost up to ${most:,.2f}, and the budget “{budget.name}” lets in none that may cost more "
            f"than ${allowed:,.2f}. Lower max_tokens, or send less.",
            f"budget {budget.name} largest request",
        )


def refusal(meter: Meter, denied: Denied) -> LimitReached | BudgetSpent:
    if meter.dimension is Dimension.MONEY:
        return _of_money(meter, denied)
    seconds = max(1, math.ceil(denied.frees_in_ms / 1000))
    words, models = meter.dimension.words, f" for {meter.model_pattern}" if meter.model_pattern else ""
    if meter.dimension is Dimension.CONCURRENT:
        said = f"{meter.limit:,} {words}{models} at the same time, and {denied.used:,} are running"
    else:
        said = f"{meter.limit:,} {words}{models} {meter.per}, and {denied.used:,} are used"
    return LimitReached(
        f"A limit of Nexus is reached: {meter.label} may use {said}. There is room again in {_span(seconds)}.",
        meter.name,
        seconds,
        meter.key,
        denied.frees_in_ms / 1000 if meter.is_window else 0,
    )


def _of_money(meter: Meter, denied: Denied) -> LimitReached | BudgetSpent:
    spent, amount = as_usd(denied.used - denied.held), as_usd(meter.limit)
    if denied.used - denied.held < meter.limit:
        return LimitReached(
            f"The budget “{meter.label}” of ${amount:,.2f} is nearly spent, and requests that are running may use what "
            f"is left. Try again in a moment.",
            meter.name,
            max(1, math.ceil(denied.frees_in_ms / 1000)),
            meter.key,
        )
    ends_at = meter.account.ends_at if meter.account else None
    until = f"It begins anew at {ends_at:%Y-%m-%d %H:%M} UTC" if ends_at else "It does not begin anew"
    seconds = None if ends_at is None else max(1, math.ceil((ends_at - datetime.now(UTC)).total_seconds()))
    return BudgetSpent(
        f"The budget “{meter.label}” of ${amount:,.2f} is spent (${spent:,.2f}). {until}; an operator of Nexus can "
        "raise it in the admin under Budgets.",
        meter.name,
        seconds,
    )


def too_large(use: Use, amount: int) -> BudgetSpent:
    left = max(0, use.meter.limit - use.used)
    return BudgetSpent(
        f"This message batch may cost up to ${as_usd(amount):,.2f}, and of the budget “{use.meter.label}” "
        f"${as_usd(left):,.2f} are left. Make it smaller, or lower max_tokens.",
        use.meter.name,
        None,
    )


def unknown(meter: Meter) -> LimitReached:
    return LimitReached(
        f"What is spent of the budget “{meter.label}” is not known at the moment. Try again in a moment.",
        meter.name,
        2,
        meter.key,
    )


def _span(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
