"""A process has stopped writing to the ledger and has not said that it ended."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from telemetry.models import LedgerRow, Limits, Severity
from telemetry.notices.finding import Finding
from telemetry.notices.rules.rule import WatchedRule


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    silent = LedgerRow.objects.filter(ended_at__isnull=True, seen_at__lt=now - limits.window).order_by("-seen_at")
    for row in silent.iterator():
        yield Finding(
            rule=RULE.name,
            object=str(row.id),
            label=f"A process on {row.node} is silent",
            severity=limits.severity,
            sentence=f"A process on {row.node} was last seen on {row.seen_at:%Y-%m-%d at %H:%M} UTC and has not ended.",
            advice="If it was killed, start Nexus with the same NEXUS_DATA: it stores what that process had spooled.",
            facts={"process": str(row.id), "in_flight": row.in_flight, "spooled": row.spooled},
        )


RULE = WatchedRule(
    "process_silent",
    "A process is silent",
    Limits(window=timedelta(minutes=2), severity=Severity.WARNING),
    find,
)
