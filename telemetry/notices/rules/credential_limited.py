"""A credential has reached its limits at the Claude API."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Count

from telemetry.models import Limits, Severity
from telemetry.notices.finding import Finding
from telemetry.notices.rules import credentials
from telemetry.notices.rules.rule import WatchedRule


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    rows = credentials.errors(now, limits.window, 429).order_by().values("credential_id")
    counts = dict(rows.annotate(count=Count("id")).values_list("credential_id", "count"))
    limited = {credentials.key_of(each): count for each, count in counts.items() if count >= limits.minimum}
    for key, credential in credentials.named(counts).items():
        if key not in limited:
            continue
        yield Finding(
            rule=RULE.name,
            object=credential.object,
            label=f"Credential {credential.label} is limited",
            domain_id=credential.domain_id,
            severity=limits.severity,
            sentence=f"The Claude API answers 429 to the credential {credential.label}: it has to cool down.",
            advice="Wait for its limits to reset, spread the load over more credentials, or ask Anthropic for more.",
            facts={"answers_with_429": limited[key]},
        )


RULE = WatchedRule(
    "credential_limited",
    "A credential has reached its limits",
    Limits(window=timedelta(minutes=5), severity=Severity.WARNING, minimum=5),
    find,
    "Minimum: answers with 429 in the window.",
)
