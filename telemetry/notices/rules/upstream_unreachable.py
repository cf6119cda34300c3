"""The Claude API gives no answer at all."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from telemetry.models import Limits, Outcome, Severity
from telemetry.notices.finding import Finding
from telemetry.notices.rules import recent
from telemetry.notices.rules.rule import WatchedRule


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    failures = list(recent.failures(now, limits.window))
    unanswered = sum(failure.outcome == Outcome.UPSTREAM_FAILED for failure in failures)
    if unanswered < limits.minimum or unanswered < len(failures):
        return
    if recent.others(now, limits.window).total():
        return
    yield Finding(
        rule=RULE.name,
        object="api",
        label="The Claude API is not reachable",
        severity=limits.severity,
        sentence="The Claude API answers no request.",
        advice="Look at the network of Nexus, CLAUDE_API_BASE_URL and status.anthropic.com.",
        facts={"unanswered": unanswered},
    )


RULE = WatchedRule(
    "upstream_unreachable",
    "The Claude API answers nothing",
    Limits(window=timedelta(minutes=2), severity=Severity.CRITICAL, minimum=5),
    find,
    "Minimum: requests without an answer in the window, while there is none with one.",
)
