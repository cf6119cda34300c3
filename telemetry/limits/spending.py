"""What the record says was spent: the truth that the counters of budgets follow."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.ids import first_id_at
from telemetry.limits.meters import Account, Meter
from telemetry.limits.store import Seed
from telemetry.models import BatchUsageRow, ExchangeRow, HourMark, HourRow, HourState
from telemetry.money.marks import start_of_hour
from telemetry.money.sums import cost_sum
from telemetry.snapshot import snapshot

HOUR = timedelta(hours=1)
UNKNOWN_COST = Q(cost=None) | Q(cost=0)
Pair = tuple[datetime, UUID | None]
"""An hour of a domain."""


def seed_of(meter: Meter, recent: Callable[[], Mapping[UUID, int]]) -> Seed:
    """From one snapshot of the database. *recent* says, once the snapshot is taken, what the counter knows of exchanges
    that ended lately: each of them is in the snapshot, or is not."""
    if meter.account is None:
        raise ValueError(f"{meter.key} counts no money")
    with snapshot():
        units = spent(meter.account)
        known = list(recent())
        included = ExchangeRow.objects.filter(id__in=known).values_list("id", flat=True)
        return Seed(meter, units, frozenset(included))


def spent(account: Account) -> int:
    """In units of 1e-10 USD. Hours that are summed are read from their sums, so that a month takes no longer than an
    hour, and what retention has deleted still counts; others from the exchanges."""
    until = account.ends_at or timezone.now() + timedelta(days=1)
    if account.user_id or account.session_id:
        return _of_rows(account, account.starts_at, until)
    unsummed = _unsummed(account, until)
    first = start_of_hour(account.starts_at)
    if first != account.starts_at:  # a budget in total that began in mid-hour
        unsummed |= {pair for pair in _pairs(account, first, first + HOUR) if not _is_final(pair)}
    hours = _own(HourRow.objects.filter(hour__gte=first, hour__lt=until), account)
    total = _units(hours.aggregate(paid=cost_sum("cost"), assumed=cost_sum("assumed_cost")))
    for hour in sorted({hour for hour, _ in unsummed}):
        domains = {domain_id for each, domain_id in unsummed if each == hour}
        total -= _units(
            hours.filter(_of(domains), hour=hour).aggregate(paid=cost_sum("cost"), assumed=cost_sum("assumed_cost"))
        )
        total += _of_rows(account, max(hour, account.starts_at), hour + HOUR, _of(domains))
    return total


def _of_rows(account: Account, since: datetime, until: datetime, domains: Q | None = None) -> int:
    span = (first_id_at(since), first_id_at(until))
    rows = _own(ExchangeRow.objects.filter(domains or Q(), id__gte=span[0], id__lt=span[1]), account)
    if account.user_id:
        rows = rows.filter(user_id=account.user_id)
    if account.session_id:
        rows = rows.filter(session_id=account.session_id)
    total = _units(rows.aggregate(paid=cost_sum("cost"), assumed=cost_sum("assumed_cost", filter=UNKNOWN_COST)))
    if account.user_id or account.session_id:
        return total  # whose a message batch was is not known
    batches = _own(BatchUsageRow.objects.filter(domains or Q(), booked_id__gte=span[0], booked_id__lt=span[1]), account)
    return total + _units(
        batches.aggregate(paid=cost_sum("cost"), assumed=cost_sum("assumed_cost", filter=UNKNOWN_COST))
    )


def _unsummed(account: Account, until: datetime) -> set[Pair]:
    """Whose sums are older than their exchanges, and can still be made."""
    marks = HourMark.objects.filter(hour__gte=start_of_hour(account.starts_at), hour__lt=until)
    if account.domain_id:
        marks = marks.filter(domain_id=account.domain_id)
    found = marks.order_by().values_list("hour", "domain_id").distinct()
    return {(hour, domain_id) for hour, domain_id in found if not _is_final((hour, domain_id))}


def _pairs(account: Account, since: datetime, until: datetime) -> set[Pair]:
    hours = _own(HourRow.objects.filter(hour__gte=since, hour__lt=until), account)
    return set(hours.order_by().values_list("hour", "domain_id").distinct())


def _is_final(pair: Pair) -> bool:
    """Some of its exchanges are deleted: only its sums know what they cost."""
    hour, domain_id = pair
    return HourState.objects.filter(_of({domain_id}), hour=hour, is_final=True).exists()


def _own(rows: "QuerySet[Any]", account: Account) -> "QuerySet[Any]":
    if account.domain_id:
        rows = rows.filter(domain_id=account.domain_id)
    if account.client_key_id:
        rows = rows.filter(client_key_id=account.client_key_id)
    return rows.order_by()


def _of(domains: set[UUID | None]) -> Q:
    named = Q(domain_id__in=[domain_id for domain_id in domains if domain_id])
    return named | Q(domain_id=None) if None in domains else named


def _units(sums: dict[str, Any]) -> int:
    return int(sums["paid"]) + int(sums["assumed"])
