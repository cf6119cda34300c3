"""What was spent of a budget in the periods before this one."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.utils import timezone

from accounts.models import Budget
from telemetry.limits.meters import Account, as_usd
from telemetry.limits.periods import period_of
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
    found, (starts_at, _) = [], period_of(budget.period, timezone.now(), budget.starts_at)
    for _ in range(PERIODS_MAX):
        starts_at, ends_at = period_of(budget.period, starts_at - timedelta(seconds=1), budget.starts_at)
        usd = as_usd(spent(_account(budget, starts_at, ends_at)))
        found.append(Past(starts_at, usd, round(100 * usd / budget.amount_usd)))
    return found


def _account(budget: Budget, starts_at: datetime, ends_at: datetime | None) -> Account:
    return Account(
        budget_id=budget.id,
        domain_id=budget.domain_id,
        client_key_id=budget.client_key_id,
        starts_at=starts_at,
        ends_at=ends_at,
    )
