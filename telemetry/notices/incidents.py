"""Incidents: one for each rule and object, told when it begins, worsens, changes and ends, not each time it is found.

Many workers may evaluate at once, each with its own clock. Whoever changes an incident names the step and the
evaluation that it has seen; if another was here meanwhile, nothing is changed and nothing is told.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import F

from telemetry.models import Incident, IncidentStep, Severity
from telemetry.models.incidents import State, StepKind
from telemetry.notices.finding import Finding, Rule
from telemetry.notices.outbox import enter
from telemetry.notices.wording import notice_id, notice_of
from telemetry.timelimit import time_limited

logger = logging.getLogger(__name__)

EVALUATION_SECONDS = 30
"""How often the rules are evaluated."""
MISSES = 2
"""Evaluations in a row that do not find it: then it is over."""
ABSENCE = timedelta(minutes=2)
"""Not found for so long, whoever looked and however often: then it is over too."""
APART = timedelta(seconds=10)
"""Two workers at the same moment have looked once."""
FLAPPING = timedelta(minutes=10)
"""What comes back within that time is the same incident; and one that came back is over only after so long."""
TELL_AGAIN = timedelta(minutes=30)
FINDINGS_MAX = 200
"""Of one rule in one evaluation."""
RULE_SECONDS = 5.0
BUDGET_SECONDS = 15.0
TRIES = 5
WATCH = "watch"
"""The rule that is about rules."""


@dataclass(slots=True)
class Evaluation:
    """What the rules have found at one moment."""

    now: datetime
    rules: frozenset[str] = frozenset()
    """All that there are: what another rule once found is over."""
    findings: list[Finding] = field(default_factory=list)
    quiet: frozenset[str] = frozenset()
    """Rules whose incidents end without a word: their time is over, and nobody did anything about it."""
    finished: set[str] = field(default_factory=set)
    """Rules that have said all: only of these is anything absent."""

    def knows(self, incident: Incident) -> bool:
        """Whether it would have been found, were it still there."""
        name = incident.object if incident.rule == WATCH else incident.rule
        return name in self.finished or name not in self.rules


def evaluate(rules: Sequence[Rule], now: datetime, budget_seconds: float = BUDGET_SECONDS) -> None:
    """Looks once, and changes and tells what has changed."""
    apply(look(rules, now, budget_seconds))


def look(rules: Sequence[Rule], now: datetime, budget_seconds: float = BUDGET_SECONDS) -> Evaluation:
    """A rule that fails stops no other; one whose turn does not come has said nothing."""
    quiet = frozenset(rule.name for rule in rules if rule.ends_quietly)
    evaluation = Evaluation(now, frozenset(rule.name for rule in rules), quiet=quiet)
    deadline = time.monotonic() + budget_seconds
    for rule in _in_turn(rules, now):
        if time.monotonic() > deadline:
            logger.warning("rules took longer than %s seconds: the others wait for the next time", budget_seconds)
            break
        _ask(rule, evaluation)
    return evaluation


def _in_turn(rules: Sequence[Rule], now: datetime) -> Sequence[Rule]:
    """Another one comes first each time, so that a slow one cannot keep those after it from ever being asked."""
    first = int(now.timestamp() // EVALUATION_SECONDS) % max(1, len(rules))
    return [*rules[first:], *rules[:first]]


def _ask(rule: Rule, evaluation: Evaluation) -> None:
    try:
        with time_limited(RULE_SECONDS):
            findings = list(islice(rule(evaluation.now), FINDINGS_MAX + 1))
    except Exception as error:
        logger.exception("the rule %s cannot be evaluated", rule.name)
        evaluation.findings.append(_broken(rule, error))
        return
    evaluation.findings += findings[:FINDINGS_MAX]
    if len(findings) > FINDINGS_MAX:
        logger.warning("the rule %s finds more than %s objects: the others are left out", rule.name, FINDINGS_MAX)
    else:
        evaluation.finished.add(rule.name)


def _broken(rule: Rule, error: Exception) -> Finding:
    return Finding(
        rule=WATCH,
        object=rule.name,
        label=f"Rule {rule.name}",
        severity=Severity.WARNING,
        sentence=f"The rule {rule.name} cannot be evaluated: what it watches is not watched.",
        advice="The log of the worker says why.",
        facts={"error": type(error).__name__},
    )


def apply(evaluation: Evaluation) -> None:
    """Each incident in a transaction of its own: trouble with one does not hold up the others."""
    unresolved = {(incident.rule, incident.object): incident for incident in Incident.objects.unresolved()}
    found = {(finding.rule, finding.object[:200]): finding for finding in evaluation.findings}
    for key, finding in found.items():
        _guarded(_found, unresolved.get(key), finding, evaluation.now)
    for key, incident in unresolved.items():
        if key not in found and evaluation.knows(incident):
            _guarded(_missed, incident, evaluation.now, incident.rule in evaluation.quiet)


def _guarded(change: Callable[..., object], *arguments: Any) -> None:
    try:
        change(*arguments)
    except Exception:
        logger.exception("an incident could not be changed")


def _found(incident: Incident | None, finding: Finding, now: datetime) -> None:
    if incident is None:
        _begin(finding, now)
    elif incident.evaluated_at < now:
        _go_on(incident, finding, now)


def _begin(finding: Finding, now: datetime) -> None:
    last = Incident.objects.filter(rule=finding.rule, object=finding.object[:200]).order_by("-opened_at").first()
    try:
        if last is None or (last.resolved_at is not None and last.resolved_at < now - FLAPPING):
            _open(finding, now)
        elif last.resolved_at is not None and max(last.resolved_at, last.evaluated_at) < now:
            _reopen(last, finding, now)
    except IntegrityError:
        logger.debug("another worker opened it first: %s %s", finding.rule, finding.object)


def _open(finding: Finding, now: datetime) -> None:
    with transaction.atomic():
        incident = Incident.objects.create(
            rule=finding.rule,
            object=finding.object[:200],
            domain_id=finding.domain_id,
            opened_at=now,
            updated_at=now,
            told_at=now,
            told_sentence=finding.sentence,
            severity=finding.severity,
            **_seen(finding, now),
        )
        _tell(incident, StepKind.OPENED, now)


def _reopen(incident: Incident, finding: Finding, now: datetime) -> None:
    _step(
        incident,
        StepKind.REOPENED,
        now,
        state=State.OPEN,
        resolved_at=None,
        acknowledged_at=None,
        acknowledged_by=None,
        severity=finding.severity,
        evaluations=F("evaluations") + 1,
        reopenings=F("reopenings") + 1,
        **_seen(finding, now),
    )


def _go_on(incident: Incident, finding: Finding, now: datetime) -> None:
    changes = {**_seen(finding, now), "evaluations": F("evaluations") + 1}
    if finding.severity.is_worse_than(incident.severity):
        _step(incident, StepKind.WORSENED, now, state=State.OPEN, severity=finding.severity, **changes)
    elif _has_news(incident, finding, now):
        _step(incident, StepKind.CHANGED, now, **changes)
    else:
        _as_read(incident).update(**changes)


def _has_news(incident: Incident, finding: Finding, now: datetime) -> bool:
    is_told = finding.sentence == incident.told_sentence or incident.state == State.ACKNOWLEDGED
    return not is_told and now - incident.told_at >= TELL_AGAIN


def _missed(incident: Incident, now: datetime, ends_quietly: bool) -> None:
    if now - incident.evaluated_at < APART:
        return
    if _is_over(incident, now) and ends_quietly:
        _as_read(incident).update(state=State.RESOLVED, resolved_at=now, evaluated_at=now, updated_at=now)
    elif _is_over(incident, now):
        _step(incident, StepKind.RESOLVED, now, state=State.RESOLVED, resolved_at=now, evaluated_at=now)
    else:
        _as_read(incident).update(misses=min(incident.misses + 1, MISSES), evaluated_at=now)


def _is_over(incident: Incident, now: datetime) -> bool:
    absence = now - incident.seen_at
    if incident.reopenings:
        return absence >= FLAPPING
    return incident.misses + 1 >= MISSES or absence >= ABSENCE


def acknowledge(incident: Incident, by: User | None, now: datetime) -> bool:
    """Somebody looks after it. False if it was not open."""
    changes = {"state": State.ACKNOWLEDGED, "acknowledged_at": now, "acknowledged_by": by}
    return _by_hand(incident, (State.OPEN,), StepKind.ACKNOWLEDGED, now, by, changes)


def resolve(incident: Incident, by: User | None, now: datetime) -> bool:
    """Somebody says that it is over. False if it was already. What is still found comes back."""
    changes = {"state": State.RESOLVED, "resolved_at": now}
    return _by_hand(incident, (State.OPEN, State.ACKNOWLEDGED), StepKind.RESOLVED, now, by, changes)


def _by_hand(
    incident: Incident,
    states: Iterable[str],
    kind: StepKind,
    now: datetime,
    by: User | None,
    changes: dict[str, Any],
) -> bool:
    """Tried again where an evaluation came between: that is no answer for a person."""
    for _ in range(TRIES):
        incident.refresh_from_db()
        if incident.state not in states:
            return False
        if _step(incident, kind, now, by, **changes):
            return True
    return False


def _seen(finding: Finding, now: datetime) -> dict[str, Any]:
    return {
        "label": finding.label[:300],
        "sentence": finding.sentence,
        "advice": finding.advice,
        "facts": finding.facts,
        "seen_at": now,
        "evaluated_at": now,
        "misses": 0,
    }


def _as_read(incident: Incident) -> Any:
    """The row, if nobody has changed it since it was read."""
    return Incident.objects.filter(id=incident.id, step=incident.step, evaluated_at=incident.evaluated_at)


def _step(incident: Incident, kind: StepKind, now: datetime, by: User | None = None, **changes: Any) -> bool:
    """The change, its line in the history and its notice, all or none. False if another worker got there first."""
    with transaction.atomic():
        changes = {**changes, "step": F("step") + 1, "updated_at": now, "told_at": now}
        changes["told_sentence"] = changes.get("sentence", incident.sentence)
        if not _as_read(incident).update(**changes):
            return False
        incident.refresh_from_db()
        _tell(incident, kind, now, by)
    return True


def _tell(incident: Incident, kind: StepKind, now: datetime, by: User | None = None) -> None:
    step = IncidentStep.objects.create(
        incident=incident,
        number=incident.step,
        kind=kind,
        severity=incident.severity,
        sentence=incident.sentence,
        facts=incident.facts,
        at=now,
        by=by,
        notice_id=notice_id(incident.id, incident.step),
    )
    enter([notice_of(incident, step)])
