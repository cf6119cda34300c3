"""Too many of a domain's requests fail."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from telemetry.models import Limits, Severity
from telemetry.notices.finding import Finding
from telemetry.notices.rules import recent
from telemetry.notices.rules.recent import Failure
from telemetry.notices.rules.rule import WatchedRule


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    failed: dict[UUID, list[Failure]] = {}
    others = recent.others(now, limits.window)
    for failure in recent.failures(now, limits.window):
        if failure.domain_id is None:
            continue
        if failure.is_of_its_client:
            others[failure.domain_id] += 1
        else:
            failed.setdefault(failure.domain_id, []).append(failure)
    hosts = recent.hosts_of(set(failed))
    for domain_id, host in hosts.items():
        count = len(failed[domain_id])
        requests = count + others[domain_id]
        if requests >= limits.minimum and count / requests >= limits.threshold:
            yield _finding(domain_id, host, failed[domain_id], requests, limits)


def _finding(domain_id: UUID, host: str, failed: list[Failure], requests: int, limits: Limits) -> Finding:
    share = len(failed) / requests
    (outcome, status), _ = Counter((each.outcome, each.status) for each in failed).most_common(1)[0]
    return Finding(
        rule=RULE.name,
        object=str(domain_id),
        label=f"Requests of {host} fail",
        domain_id=domain_id,
        severity=limits.severity_of(share),
        sentence=f"More than {limits.threshold:.0%} of the requests of {host} fail.",
        advice="The record, filtered by domain and outcome, shows which and why.",
        facts={
            "failed": f"{share:.0%}",
            "requests": requests,
            "mostly": f"{outcome} {status}" if status else outcome,
        },
    )


RULE = WatchedRule(
    "error_rate",
    "Requests of a domain fail",
    Limits(window=timedelta(minutes=5), severity=Severity.WARNING, threshold=0.2, critical_threshold=0.5, minimum=20),
    find,
    "Threshold: the share of requests, 0 to 1. Minimum: requests in the window.",
)
