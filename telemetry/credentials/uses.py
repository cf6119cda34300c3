"""Which domains have used a credential in the last hour, and how often, at a price that does not grow with the record.

Up to `EXACT_MAX` exchanges are counted; where there were more, the sums by the hour say about how many."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, Sum

from accounts.ids import first_id_at
from accounts.models import Domain
from telemetry.models import ExchangeRow, HourRow

HOUR = timedelta(hours=1)
EXACT_MAX = 20_000


@dataclass(frozen=True, slots=True)
class Use:
    domain: str
    requests: int
    is_estimate: bool = False


def uses(credential_ids: Iterable[UUID], now: datetime) -> dict[UUID, list[Use]]:
    """Each with the busiest domain first."""
    wanted = list(credential_ids)
    recent = ExchangeRow.objects.filter(id__gte=first_id_at(now - HOUR), id__lt=first_id_at(now)).order_by()
    is_estimate = recent.order_by("-id").values("id")[EXACT_MAX : EXACT_MAX + 1].exists()
    if is_estimate:
        counts = _about(wanted, now)
    else:
        rows = recent.filter(credential_id__in=wanted).values("credential_id", "domain_id")
        counts = {(row["credential_id"], row["domain_id"]): row["count"] for row in rows.annotate(count=Count("id"))}
    hosts = dict(Domain.objects.filter(id__in={domain for _, domain in counts}).values_list("id", "host"))
    found: dict[UUID, list[Use]] = {}
    for (credential_id, domain_id), count in sorted(counts.items(), key=lambda item: -item[1]):
        found.setdefault(credential_id, []).append(Use(hosts.get(domain_id, "—"), count, is_estimate))
    return found


def _about(credential_ids: list[UUID], now: datetime) -> dict[tuple[UUID, UUID], int]:
    """This hour so far, and as much of the one before as belongs to the last sixty minutes."""
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    weights = {this_hour: 1.0, this_hour - HOUR: 1 - (now - this_hour) / HOUR}
    rows = HourRow.objects.filter(hour__in=weights, credential_id__in=credential_ids).order_by()
    counts: dict[tuple[UUID, UUID], float] = {}
    for row in rows.values("hour", "credential_id", "domain_id").annotate(count=Sum("requests")):
        of = (row["credential_id"], row["domain_id"])
        counts[of] = counts.get(of, 0) + row["count"] * weights[row["hour"]]
    return {of: round(count) for of, count in counts.items() if round(count)}
