"""Runs of the reprice job in the background, and how far they have come: a worker that is stopped loses nothing."""

from collections.abc import Sequence

from django.db.models import F
from django.utils import timezone

from telemetry.models import PriceRow, RepricingRow
from telemetry.money.repricing import Report, Scope, reprice


def scope_of_prices(rows: Sequence[PriceRow]) -> Scope:
    """What these prices may concern: their models, from the first of them on. Others may have counted before, so that
    a newer price does not end it."""
    return Scope(since=min(row.valid_from for row in rows), patterns=tuple(sorted({row.pattern for row in rows})))


def ask(scope: Scope, asked_by: str) -> RepricingRow:
    return RepricingRow.objects.create(
        asked_by=asked_by, since=scope.since, until=scope.until, patterns="\n".join(scope.patterns)
    )


def go_on(seconds: float) -> bool:
    """Works at the oldest one for about so long; whether anything is left to do."""
    row = RepricingRow.objects.filter(finished_at=None).order_by("id").first()
    if row is None:
        return False
    _note(row, reprice(_scope(row), row.id, after=row.reached, seconds=seconds))
    return RepricingRow.objects.filter(finished_at=None).exists()


def _scope(row: RepricingRow) -> Scope:
    return Scope(since=row.since, until=row.until, patterns=tuple(row.patterns.split("\n")) if row.patterns else ())


def _note(row: RepricingRow, report: Report) -> None:
    """Unless another worker did the same and was faster."""
    RepricingRow.objects.filter(id=row.id, reached=row.reached, finished_at=None).update(
        reached=report.reached,
        looked_at=F("looked_at") + report.looked_at,
        changed=F("changed") + report.total.count,
        cost_before=F("cost_before") + report.total.before,
        cost_after=F("cost_after") + report.total.after,
        finished_at=timezone.now() if report.is_whole else None,
    )
