"""A budget will be spent before its period is over, if it goes on like this."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from accounts.models import Budget
from accounts.register import budget_facts
from telemetry.limits.forecast import forecast
from telemetry.limits.meters import as_units
from telemetry.limits.plan import account_of
from telemetry.limits.spending import spent
from telemetry.models import Limits, Severity
from telemetry.notices.finding import Finding
from telemetry.notices.rules.rule import WatchedRule


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    for budget in Budget.objects.filter(is_active=True, each="").select_related("domain", "client_key__domain"):
        facts = budget_facts(budget)
        account = account_of(facts, now)
        share = spent(account) / as_units(budget.amount_usd)
        at = forecast(facts, now) if share >= (limits.threshold or 0) else None
        if at is not None:
            yield Finding(
                rule=RULE.name,
                object=f"{budget.id}:{account.starts_at:%Y%m%d}",
                label=f"Budget {budget.name} will not last",
                domain_id=budget.domain_id or (budget.client_key.domain_id if budget.client_key else None),
                severity=limits.severity,
                sentence=f"At the pace of the last day the budget “{budget.name}” will be spent on {at:%A %Y-%m-%d}.",
                advice="Raise it in the admin under Budgets, or see who spends it.",
                facts={"spent_at": at.isoformat(), "amount_usd": f"{budget.amount_usd}"},
            )


RULE = WatchedRule(
    "budget_forecast",
    "A budget will be spent before its period is over",
    Limits(window=timedelta(days=1), severity=Severity.WARNING, threshold=0.25),
    find,
    "Threshold: the share of the budget, 0 to 1, that has to be spent before anything is foretold.",
    ends_quietly=True,
)
