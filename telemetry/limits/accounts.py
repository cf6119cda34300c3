"""Whose money a budget counts in a period, and its counters as the record knows them."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from accounts.facts import BudgetFacts
from accounts.models import Budget, ClientKey
from telemetry.limits.meters import Account
from telemetry.limits.persons import busiest
from telemetry.limits.plan import account_of
from telemetry.models import HourRow
from telemetry.money.marks import start_of_hour
from telemetry.money.sums import cost_sum

PEOPLE_MAX = 50
"""Keys, users or sessions of a budget that are looked at: those that spent most."""


class Counter(NamedTuple):
    account: Account
    name: str = ""
    """Of the key, user or session; empty where they have the money together."""
    of: str = ""
    """The same for people, with a space before it."""


def counters(budget: BudgetFacts, now: datetime) -> list[Counter]:
    """One for all, or one for each key, user or session that spends."""
    account = account_of(budget, now)
    if budget.each == Budget.Each.TOGETHER:
        return [Counter(account)]
    return list(_of_keys(account) if budget.each == Budget.Each.KEY else _of_persons(budget, account, now))


def _of_keys(account: Account) -> Iterator[Counter]:
    hours = HourRow.objects.filter(hour__gte=start_of_hour(account.starts_at), client_key__isnull=False)
    if account.domain_id is not None:
        hours = hours.filter(domain_id=account.domain_id)
    spenders = hours.order_by().values("client_key_id").annotate(units=cost_sum()).order_by("-units")
    ids = list(spenders.values_list("client_key_id", flat=True)[:PEOPLE_MAX])
    for key in ClientKey.objects.filter(id__in=ids).order_by("name"):
        yield Counter(replace(account, client_key_id=key.id), str(key.id), f" of the client key {key.name}")


def _of_persons(budget: BudgetFacts, account: Account, now: datetime) -> Iterator[Counter]:
    for name in busiest(budget, now, PEOPLE_MAX):
        own = replace(account, user_id=name) if budget.each == Budget.Each.USER else replace(account, session_id=name)
        yield Counter(own, name[:60], f" of the {budget.each} {name}")
