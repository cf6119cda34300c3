"""When a budget will be spent, if it goes on as it did lately."""

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from accounts.facts import BudgetFacts
from telemetry.limits.meters import as_units
from telemetry.limits.plan import account_of
from telemetry.limits.spending import spent

LATELY = timedelta(days=1)
"""The pace that counts; of a period that began later, its pace so far."""
LEAST = timedelta(hours=1)
"""A pace of less than that is none."""


def forecast(budget: BudgetFacts, now: datetime | None = None) -> datetime | None:
    """To the hour. None: it lasts for its period, it is spent already, nothing is known yet, or each key, user or
    session has its own."""
    now = now or datetime.now(UTC)
    if budget.each:
        return None
    account = account_of(budget, now)
    since, ends_at = max(account.starts_at, now - LATELY), account.ends_at
    if now - since < LEAST:
        return None
    left = as_units(budget.amount_usd) - spent(account)
    pace = spent(replace(account, starts_at=since)) / ((now - since) / LEAST)
    if left <= 0 or pace <= 0 or left / pace > 24 * 366:
        return None
    at = (now + LEAST * (left / pace)).replace(minute=0, second=0, microsecond=0) + LEAST
    return at if ends_at is None or at < ends_at else None
