"""The latest exchanges, read through indexes and within bounds. A little inexact on purpose: what has failed counts by
its end, since a failure may take ten minutes to become one; everything else by its beginning, which the index knows."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, Q, QuerySet

from accounts.ids import first_id_at
from accounts.models import Domain
from telemetry.models import ExchangeRow, Outcome

FAILURES = (Outcome.API_ERROR, Outcome.UPSTREAM_FAILED, Outcome.BROKEN, Outcome.FAILED)
UNCOUNTED = (Outcome.REFUSED, Outcome.CANCELLED)
"""What clients brought upon themselves says nothing about the API, nor about us."""
NOT_THE_CLIENTS = (401, 403, 429)
"""Statuses that speak of the credential."""
LONGEST_FAILURE = timedelta(minutes=15)
"""The limit for a first byte is ten minutes by default."""
ROWS_MAX = 50_000
FAILURES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Failure:
    id: UUID
    domain_id: UUID | None
    outcome: str
    status: int | None

    @property
    def is_of_its_client(self) -> bool:
        """The API does not take this request, and would take another."""
        is_4xx = self.status is not None and 400 <= self.status < 500
        return self.outcome == Outcome.API_ERROR and is_4xx and self.status not in NOT_THE_CLIENTS


def between(since: datetime, until: datetime) -> "QuerySet[ExchangeRow]":
    """What began then: at most the newest `ROWS_MAX`."""
    rows = ExchangeRow.objects.filter(id__gte=first_id_at(since), id__lt=first_id_at(until))
    oldest = next(iter(rows.order_by("-id").values_list("id", flat=True)[ROWS_MAX : ROWS_MAX + 1]), None)
    return (rows if oldest is None else rows.filter(id__gt=oldest)).order_by()


def others(now: datetime, window: timedelta) -> Counter[UUID | None]:
    """By domain, the exchanges that count and have not failed."""
    rows = between(now - window, now).exclude(outcome__in=(*FAILURES, *UNCOUNTED))
    return Counter(dict(rows.values("domain_id").annotate(count=Count("id")).values_list("domain_id", "count")))


def failures(now: datetime, window: timedelta) -> Iterator[Failure]:
    """What failed within the window, the newest first."""
    span = Q(id__gte=first_id_at(now - window - LONGEST_FAILURE), id__lt=first_id_at(now))
    # Said twice: the partial index holds what is not completed.
    rows = ExchangeRow.objects.filter(span, ~Q(outcome=Outcome.COMPLETED), outcome__in=FAILURES).order_by("-id")
    columns = rows.values_list("id", "started_at", "duration_ms", "domain_id", "outcome", "status")[:FAILURES_MAX]
    for row_id, started_at, duration_ms, domain_id, outcome, status in columns:
        if now - window <= started_at + timedelta(milliseconds=duration_ms):
            yield Failure(row_id, domain_id, outcome, status)


def hosts_of(domain_ids: set[UUID]) -> dict[UUID, str]:
    """Those that the register still knows."""
    return dict(Domain.objects.filter(id__in=domain_ids).values_list("id", "host"))
