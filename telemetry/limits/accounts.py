"""The counters of a budget, as the record knows them: one for all, or one for each key, user or session that spends."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import msgspec

from accounts.ids import first_id_at
from accounts.models import Budget, ClientKey
from telemetry.limits.meters import Account
from telemetry.limits.periods import period_of
from telemetry.models import ExchangeRow
from telemetry.money.sums import cost_sum

PEOPLE_MAX = 50
"""Keys, users or sessions of a budget that are looked at: those that spent most."""


class Counter(NamedTuple):
    account: Account
    name: str = ""
    """Of the key, user or session; empty where they have the money together."""
    of: str = ""
    """The same for people, with a space before it."""


def counters(budget: Budget, now: datetime) -> list[Counter]:
    starts_at, ends_at = period_of(budget.period, now, budget.starts_at)
    account = Account(
        budget_id=budget.id,
        domain_id=budget.domain_id,
        client_key_id=budget.client_key_id,
        starts_at=starts_at,
        ends_at=ends_at,
    )
    return list(_of_each(budget, account)) if budget.each else [Counter(account)]


def _of_each(budget: Budget, account: Account) -> Iterator[Counter]:
    column = {"key": "client_key_id", "user": "user_id", "session": "session_id"}[budget.each]
    rows = ExchangeRow.objects.filter(id__gte=first_id_at(account.starts_at)).exclude(**{column: None})
    for name in ("domain_id", "client_key_id"):
        if value := getattr(account, name):
            rows = rows.filter(**{name: value})
    spenders = rows.order_by().values(column).annotate(units=cost_sum("cost")).order_by("-units")
    found = [name for name in spenders.values_list(column, flat=True)[:PEOPLE_MAX] if name]
    names = dict(ClientKey.objects.filter(id__in=found).values_list("id", "name")) if column == "client_key_id" else {}
    for name in found:
        shown = f" of the {'client key' if names else budget.each} {names.get(name, name)}"
        yield Counter(msgspec.structs.replace(account, **{column: name}), str(name)[:60], shown)
