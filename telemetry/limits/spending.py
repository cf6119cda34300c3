"""What the record says was spent: the truth that the counters of budgets follow."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.ids import first_id_at
from telemetry.limits.meters import Account, Meter
from telemetry.limits.store import Seed
from telemetry.models import ExchangeRow
from telemetry.money.sums import cost_sum


def seed_of(meter: Meter, recent: Iterable[UUID]) -> Seed:
    """From one snapshot of the database. *recent*: exchanges that the counter knows, each of which is in the record
    already or not."""
    if meter.account is None:
        raise ValueError(f"{meter.key} counts no money")
    with transaction.atomic():
        rows = _rows(meter.account)
        spent = rows.aggregate(paid=cost_sum("cost"), assumed=cost_sum("assumed_cost", filter=Q(cost=None) | Q(cost=0)))
        included = ExchangeRow.objects.filter(id__in=list(recent)).values_list("id", flat=True)
        return Seed(meter, spent["paid"] + spent["assumed"], frozenset(included))


def _rows(account: Account) -> "QuerySet[ExchangeRow]":
    ends_at = account.ends_at or timezone.now() + timedelta(days=1)
    chosen: dict[str, Any] = {"id__gte": first_id_at(account.starts_at), "id__lt": first_id_at(ends_at)}
    for name in ("domain_id", "client_key_id", "user_id", "session_id"):
        if value := getattr(account, name):
            chosen[name] = value
    return ExchangeRow.objects.filter(**chosen).order_by()
