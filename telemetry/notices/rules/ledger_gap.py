"""The record does not add up: something that was accepted is nowhere."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Q

from telemetry.models import LedgerRow, Limits, Severity, Suspicion
from telemetry.notices.finding import Finding
from telemetry.notices.rules.rule import WatchedRule

LASTS = timedelta(seconds=25)
"""Until the next evaluation: processes write their counts when they can, and adopt those of others in between."""


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    lately = Q(ended_at__isnull=True) | Q(seen_at__gte=now - limits.window)
    totals = LedgerRow.objects.filter(lately).totals()
    if totals.gap < limits.minimum:
        Suspicion.objects.filter(rule=RULE.name).delete()
        return
    suspicion, _ = Suspicion.objects.get_or_create(rule=RULE.name, defaults={"since": now})
    if now - suspicion.since < LASTS:
        return
    yield Finding(
        rule=RULE.name,
        object="record",
        label="The record has a gap",
        severity=limits.severity,
        sentence=f"{totals.gap:,} exchanges that were accepted are not in the record.",
        advice="The ledger (/api/ledger) names the process; its log says what was lost, and docs/record.md why.",
        facts={"gap": totals.gap, "known_to_be_lost": totals.lost},
    )


RULE = WatchedRule(
    "ledger_gap",
    "The record has a gap",
    Limits(window=timedelta(days=1), severity=Severity.CRITICAL),
    find,
    "Minimum: exchanges. Window: how long a process that has ended still counts.",
)
