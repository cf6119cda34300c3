"""An incident in the words of a notice."""

from uuid import UUID, uuid5

from telemetry.models import Incident, IncidentStep, Severity
from telemetry.models.incidents import StepKind
from telemetry.notices.finding import Facts
from telemetry.notices.notice import Notice, NoticeKind
from telemetry.notices.words import escaped

HEADS = {
    StepKind.OPENED: "",
    StepKind.CHANGED: "Changed: ",
    StepKind.WORSENED: "Worse: ",
    StepKind.ACKNOWLEDGED: "Acknowledged: ",
    StepKind.RESOLVED: "Resolved: ",
    StepKind.REOPENED: "Again: ",
}
FIELDS_MAX = 8


def notice_id(incident_id: UUID, step: int) -> UUID:
    """The same step has the same id, whoever makes it."""
    return uuid5(incident_id, str(step))


def notice_of(incident: Incident, step: IncidentStep) -> Notice:
    kind = StepKind(step.kind)
    return Notice(
        id=step.notice_id,
        kind=NoticeKind.INCIDENT,
        domain_id=incident.domain_id,
        title=HEADS[kind] + escaped(incident.label),
        text=_text(incident, step),
        color=_color(incident, kind),
        fields=[] if kind in (StepKind.ACKNOWLEDGED, StepKind.RESOLVED) else _fields(incident.facts),
        footer=f"incident {incident.short_id}",
        at=step.at,
        thread=incident.id,
        is_urgent=incident.severity == Severity.CRITICAL,
        facts=_facts(incident, step),
    )


def _text(incident: Incident, step: IncidentStep) -> str:
    if step.kind == StepKind.RESOLVED:
        by = f" by {step.by}" if step.by else ""
        return escaped(f"It is over{by}, after {lasted(incident)}. It was: {incident.sentence}")
    if step.kind == StepKind.ACKNOWLEDGED:
        return escaped(f"{step.by or 'Somebody'} looks after it: {incident.sentence}")
    return escaped(f"{incident.sentence} {incident.advice}".strip())


def lasted(incident: Incident) -> str:
    """In the largest unit that says enough."""
    seconds = ((incident.resolved_at or incident.updated_at) - incident.opened_at).total_seconds()
    return duration(seconds)


def duration(seconds: float) -> str:
    for unit_seconds, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit_seconds:
            return f"{seconds // unit_seconds:.0f} {unit}"
    return f"{max(0, seconds):.0f} seconds"


def _color(incident: Incident, kind: StepKind) -> str:
    if kind in (StepKind.RESOLVED, StepKind.ACKNOWLEDGED):
        return "good" if kind == StepKind.RESOLVED else ""
    return "danger" if incident.severity == Severity.CRITICAL else "warning"


def _fields(facts: Facts) -> list[tuple[str, str]]:
    shown = [(name.replace("_", " ").capitalize(), escaped(str(value))) for name, value in facts.items()]
    return shown[:FIELDS_MAX]


def _facts(incident: Incident, step: IncidentStep) -> Facts:
    """Those of Nexus win over a rule's own of the same name."""
    return {
        **incident.facts,
        "incident": str(incident.id),
        "rule": incident.rule,
        "object": incident.object,
        "severity": incident.severity,
        "state": incident.state,
        "step": step.kind,
        "step_number": step.number,
    }
