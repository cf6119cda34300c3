"""Findings, rules and moments for tests of incidents."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from telemetry.models import Delivery, Incident, IncidentStep, Severity
from telemetry.notices.finding import Finding

START = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def finding(**changes: Any) -> Finding:
    values: dict[str, Any] = {
        "rule": "error_rate",
        "object": "claude.example.com",
        "label": "Requests of claude.example.com fail",
        "severity": Severity.WARNING,
        "sentence": "More than 20 % of the requests fail.",
    }
    return Finding(**values | changes)


@dataclass
class Scripted:
    """A rule that finds what it is told to find."""

    findings: Iterable[Finding] = ()
    name: str = "error_rate"
    before: Callable[[], object] = field(default=lambda: None)
    """What happens while it looks."""
    ends_quietly: bool = False

    def __call__(self, now: datetime) -> Iterable[Finding]:
        self.before()
        return self.findings


def steps_of(incident: Incident) -> list[str]:
    return list(incident.steps.values_list("kind", flat=True))


def each_step_was_told_once() -> bool:
    """Each line of the history has one delivery (to the one sink that tests have), and there is no other."""
    steps = sorted(IncidentStep.objects.values_list("notice_id", flat=True))
    return steps == sorted(Delivery.objects.values_list("notice_id", flat=True)) and len(steps) == len(set(steps))
