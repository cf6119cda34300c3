"""A budget has passed one of its percentages. Each is told once in a period, also where a new price takes it back."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from accounts.models import Budget
from accounts.models.limits import thresholds_of
from accounts.register import budget_facts
from telemetry.limits.accounts import Counter, counters
from telemetry.limits.meters import as_units, as_usd
from telemetry.limits.spending import spent
from telemetry.models import Incident, Limits, Severity
from telemetry.notices.finding import Finding
from telemetry.notices.rules.rule import WatchedRule

SPENT = 100


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    for budget in Budget.objects.filter(is_active=True).select_related("domain", "client_key__domain"):
        if thresholds := thresholds_of(budget.thresholds):
            for counter in counters(budget_facts(budget), now):
                yield from _passed(budget, counter, thresholds, limits)


def _passed(budget: Budget, counter: Counter, thresholds: Iterable[int], limits: Limits) -> Iterator[Finding]:
    units, limit = spent(counter.account), as_units(budget.amount_usd)
    for percent in thresholds:
        name = f"{budget.id}:{counter.name}:{counter.account.starts_at:%Y%m%d}:{percent}"
        if units * 100 >= limit * percent or Incident.objects.filter(rule=RULE.name, object=name).exists():
            yield _finding(budget, counter, percent, units, name, limits)


def _finding(budget: Budget, counter: Counter, percent: int, units: int, name: str, limits: Limits) -> Finding:
    ends_at = counter.account.ends_at
    until = f"until {ends_at:%Y-%m-%d %H:%M} UTC" if ends_at else "until it is raised"
    is_spent = percent >= SPENT
    amount = f"${budget.amount_usd:,.2f} {budget.get_period_display()}"
    return Finding(
        rule=RULE.name,
        object=name,
        label=f"Budget {budget.name}{counter.of}: {percent} %",
        domain_id=budget.domain_id or (budget.client_key.domain_id if budget.client_key else None),
        severity=Severity.CRITICAL if is_spent else limits.severity,
        sentence=f"The budget “{budget.name}”{counter.of}, {amount}, has passed {percent} %."
        + (f" Its requests are refused {until}." if is_spent else ""),
        advice="Raise it in the admin under Budgets, or see who spends it.",
        facts={"spent_usd": f"{as_usd(units):.4f}", "amount_usd": f"{budget.amount_usd}", "percent": percent},
    )


RULE = WatchedRule(
    "budget_threshold",
    "A budget has passed one of its percentages",
    Limits(window=timedelta(days=1), severity=Severity.WARNING),
    find,
    "The percentages are those of each budget; from 100 % on it is critical.",
    ends_quietly=True,
)
