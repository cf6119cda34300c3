"""What happened in a span of hours, from the sums by the hour, in the figures of a digest."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import reduce
from operator import add
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet, Sum

from accounts.models import ClientKey, Domain
from telemetry.models import HourMark, HourRow
from telemetry.money.sums import as_usd, cost_sum

READ_TOKENS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
TOP = 5


@dataclass(frozen=True, slots=True)
class Figures:
    requests: int
    counted: int
    """Without those that were refused or cancelled."""
    completed: int
    read_tokens: int
    output_tokens: int
    cost: Decimal
    """In USD, of what has a price."""
    unpriced: int

    @property
    def success(self) -> float | None:
        """The share of what counts; None where nothing does."""
        return self.completed / self.counted if self.counted else None


@dataclass(frozen=True, slots=True)
class Day:
    figures: Figures
    models: list[tuple[str, Figures]]
    keys: list[tuple[str, Figures]]
    domains: list[tuple[str, Figures]]


def is_summed(since: datetime, until: datetime) -> bool:
    """Whether nothing of these hours waits to be summed."""
    return not HourMark.objects.filter(hour__gte=since, hour__lt=until).exists()


def day_of(domain_id: UUID | None, since: datetime, until: datetime, named: Iterable[UUID]) -> Day:
    """Of one domain, or of all. Of keys and domains those are told by name that are *named*; all are in the sums. Hours
    are those of UTC: they count where they begin."""
    rows = HourRow.objects.filter(hour__gte=since, hour__lt=until)
    if domain_id is not None:
        rows = rows.filter(domain_id=domain_id)
    shown = rows.filter(domain_id__in=list(named))
    keys = _by("client_key_id", shown.exclude(client_key=None))[:TOP]
    domains = _by("domain_id", shown) if domain_id is None else []
    key_names = {key.id: str(key) for key in ClientKey.objects.filter(id__in=[key_id for key_id, _ in keys])}
    hosts = dict(Domain.objects.filter(id__in=[each for each, _ in domains]).values_list("id", "host"))
    return Day(
        _figures(rows.aggregate(**_sums())),
        [(model or "no model", figures) for model, figures in _by("model", rows)[:TOP]],
        [(key_names.get(key_id, "a key that is gone"), figures) for key_id, figures in keys],
        [(hosts.get(each, "a domain that is gone"), figures) for each, figures in domains[: 2 * TOP]],
    )


def _by(column: str, rows: "QuerySet[HourRow]") -> list[tuple[Any, Figures]]:
    """What cost most comes first, and of what cost nothing, what was used most."""
    groups = rows.order_by().values(column).annotate(**_sums())
    found = [(group[column], _figures(group)) for group in groups]
    return sorted(found, key=lambda each: (-each[1].cost, -each[1].requests, str(each[0])))


def _sums() -> dict[str, Sum]:
    """Under names of their own: an annotation may not be called like a column."""
    return {
        "all_requests": Sum("requests", default=0),
        "all_uncounted": Sum(F("refused") + F("cancelled"), default=0),
        "all_completed": Sum("completed", default=0),
        "all_read": Sum(reduce(add, map(F, READ_TOKENS)), default=0),
        "all_output": Sum("output_tokens", default=0),
        "all_cost": cost_sum(),
        "all_unpriced": Sum("unpriced", default=0),
    }


def _figures(sums: dict[str, Any]) -> Figures:
    return Figures(
        sums["all_requests"],
        sums["all_requests"] - sums["all_uncounted"],
        sums["all_completed"],
        sums["all_read"],
        sums["all_output"],
        as_usd(sums["all_cost"]),
        sums["all_unpriced"],
    )
