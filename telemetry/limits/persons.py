"""Users and sessions that spent most of what each of them has, as the record tells."""

from datetime import datetime

from django.db.models import Q

from accounts.facts import BudgetFacts
from accounts.ids import first_id_at
from telemetry.limits.periods import period_of
from telemetry.models import ExchangeRow
from telemetry.money.sums import cost_sum

LOOKED_AT_MAX = 20_000
"""Exchanges, the newest of the period: the sum of a month of all would be read again and again."""


def busiest(budget: BudgetFacts, now: datetime, most: int) -> list[str]:
    """Their names, those first that spent most among the newest exchanges."""
    column = "user_id" if budget.each == "user" else "session_id"
    starts_at, _ = period_of(budget.period, now, budget.starts_at)
    rows = ExchangeRow.objects.filter(_payers(budget), id__gte=first_id_at(starts_at)).order_by("-id")
    newest = ExchangeRow.objects.filter(id__in=rows.values("id")[:LOOKED_AT_MAX]).exclude(**{column: ""})
    sums = newest.values(column).annotate(paid=cost_sum("cost"), assumed=cost_sum("assumed_cost")).order_by()
    found = sorted(sums, key=lambda row: (-int(row["paid"]) - int(row["assumed"]), row[column]))
    return [row[column] for row in found[:most]]


def _payers(budget: BudgetFacts) -> Q:
    if budget.client_key_id is not None:
        return Q(client_key=budget.client_key_id)
    return Q(domain=budget.domain_id) if budget.domain_id is not None else Q()
