"""What waits for the database grows towards the bound beyond which bodies are dropped."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings

from telemetry.conf import RecordConf
from telemetry.models import LedgerRow, Limits, Severity
from telemetry.notices.finding import Finding
from telemetry.notices.rules.rule import WatchedRule


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    conf: RecordConf = settings.RECORD
    if conf.spool is None:
        return
    least = int(conf.spool.max_bytes * limits.threshold)
    for row in LedgerRow.objects.filter(ended_at__isnull=True, spooled_bytes__gte=max(1, least)).iterator():
        share = row.spooled_bytes / conf.spool.max_bytes
        yield Finding(
            rule=RULE.name,
            object=str(row.id),
            label=f"The spool on {row.node} fills",
            severity=limits.severity_of(share),
            sentence=f"The spool of a process on {row.node} has passed {limits.threshold:.0%} of its bound.",
            advice="The database does not keep up: at the bound new bodies are dropped. NEXUS_SPOOL_MAX_BYTES sets it.",
            facts={"spooled_bytes": row.spooled_bytes, "share": f"{share:.0%}", "exchanges": row.spooled},
        )


RULE = WatchedRule(
    "spool_filling",
    "A spool fills",
    Limits(window=timedelta(minutes=2), severity=Severity.WARNING, threshold=0.8, critical_threshold=1),
    find,
    "Threshold: the share of NEXUS_SPOOL_MAX_BYTES, 0 to 1.",
)
