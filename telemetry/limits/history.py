"""What was spent of a budget in the periods before this one."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.utils import timezone

from accounts.models import Budget
from accounts.register import budget_facts
from telemetry.limits.meters import as_usd
from telemetry.limits.plan import account_of
from telemetry.limits.spending import spent

PERIODS_MAX = 6


class Past(NamedTuple):
    starts_at: datetime
    usd: Decimal
    percent: int
    """Of the amount as it is now."""


def past_periods(budget: Budget) -> list[Past]:
    """The newest first. None of what each key, user or session has, nor of one in total."""
    if budget.each or budget.period == Budget.Period.TOTAL:
        return []
    found, account = [], account_of(budget_facts(budget), timezone.now())
    for _ in range(PERIODS_MAX):
        account = account_of(budget_facts(budget), account.starts_at - timedelta(seconds=1))
        usd = as_usd(spent(account))
        found.append(Past(account.starts_at, usd, round(100 * usd / budget.amount_usd)))
    return found
