"""What is wrong, since when, and who has been told."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from accounts.ids import new_id


class Severity(models.TextChoices):
    WARNING = "warning"
    CRITICAL = "critical"

    def is_worse_than(self, other: str) -> bool:
        return self == Severity.CRITICAL and other != Severity.CRITICAL


class State(models.TextChoices):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    """Somebody looks after it: nothing is told until it worsens or is over."""
    RESOLVED = "resolved"


class StepKind(models.TextChoices):
    OPENED = "opened"
    CHANGED = "changed"
    WORSENED = "worsened"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    REOPENED = "reopened", "re-opened"


class IncidentQuerySet(models.QuerySet["Incident"]):
    def unresolved(self) -> "IncidentQuerySet":
        """The worst first, and of those the newest."""
        return self.exclude(state=State.RESOLVED).order_by("severity", "-opened_at")


class Incident(models.Model):
    """Something that a rule finds wrong with an object. Of one rule and object at most one is not resolved."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    rule = models.CharField(max_length=64)
    object = models.CharField(max_length=200)
    """What it is about, for programs: an id, a host, the name of a model."""
    label = models.CharField(max_length=300)
    """The same for people."""
    domain = models.ForeignKey(
        "accounts.Domain", on_delete=models.CASCADE, db_constraint=False, null=True, related_name="incidents"
    )
    severity = models.CharField(max_length=10, choices=Severity)
    """At its worst: it does not fall while the incident lasts, or it would be told each time it rises again."""
    state = models.CharField(max_length=12, choices=State, default=State.OPEN)
    sentence = models.TextField()
    advice = models.TextField(default="", blank=True)
    facts = models.JSONField(default=dict)

    opened_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    """Of the last step."""
    seen_at = models.DateTimeField()
    """When its rule last found it."""
    evaluated_at = models.DateTimeField()
    """When its rule last looked."""
    resolved_at = models.DateTimeField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="acknowledged_incidents"
    )
    evaluations = models.PositiveIntegerField(default=1)
    """How often it was found."""
    misses = models.PositiveSmallIntegerField(default=0)
    """How often in a row its rule has looked and not found it."""
    reopenings = models.PositiveIntegerField(default=0)
    told_at = models.DateTimeField()
    told_sentence = models.TextField()
    step = models.PositiveIntegerField(default=1)
    """The number of its last step; with `evaluated_at` it tells whether another worker was here meanwhile."""

    shown_step = models.PositiveIntegerField(default=1)
    """Which one its opening message in Slack shows, where that can be edited."""

    objects = IncidentQuerySet.as_manager()

    class Meta:
        db_table = "telemetry_incident"
        ordering = ["-opened_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "object"], condition=~models.Q(state="resolved"), name="incident_once_unresolved"
            )
        ]
        indexes = [
            models.Index(fields=["rule", "object", "-opened_at"], name="incident_history"),
            models.Index(fields=["-opened_at"], name="incident_opened"),
        ]

    def __str__(self) -> str:
        return f"{self.short_id}: {self.label}"

    @property
    def short_id(self) -> str:
        """For people: the random end, since ids of one minute begin alike."""
        return short_id(self.id)


def short_id(incident_id: UUID) -> str:
    return incident_id.hex[-8:]


class IncidentStep(models.Model):
    """One change of an incident: written with it, told once."""

    id = models.BigAutoField(primary_key=True)
    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="steps")
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=12, choices=StepKind)
    severity = models.CharField(max_length=10, choices=Severity)
    sentence = models.TextField()
    facts = models.JSONField(default=dict)
    at = models.DateTimeField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    """Who did it; None: Nexus itself."""
    notice_id = models.UUIDField()

    class Meta:
        db_table = "telemetry_incident_step"
        verbose_name = "step"
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["incident", "number"], name="incident_step_once")]

    def __str__(self) -> str:
        return f"{self.number}: {self.kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From when on a rule finds something. What each number means is said by the rule."""

    window: timedelta
    severity: Severity
    threshold: float = 1
    critical_threshold: float | None = None
    """From here on it is critical, whatever `severity` says."""
    minimum: int = 1
    """Of requests, so that one failure of two is no incident."""
    is_on: bool = True

    def severity_of(self, value: float) -> Severity:
        is_critical = self.critical_threshold is not None and value >= self.critical_threshold
        return Severity.CRITICAL if is_critical else self.severity


class RuleSettings(models.Model):
    """What an operator has changed about a rule; empty fields mean the rule's own numbers."""

    rule = models.CharField(max_length=64, primary_key=True, editable=False)
    is_on = models.BooleanField(
        "on", default=True, help_text="Off: what it has found is resolved, and it looks no more."
    )
    threshold = models.FloatField(null=True, blank=True, validators=[MinValueValidator(0)])
    critical_threshold = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(0)], help_text="From here on it is critical."
    )
    minimum = models.PositiveIntegerField(null=True, blank=True, help_text="Fewer requests than this are no incident.")
    window_seconds = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(30), MaxValueValidator(90 * 86_400)]
    )
    severity = models.CharField(max_length=10, choices=Severity, blank=True)

    class Meta:
        db_table = "telemetry_rule_settings"
        verbose_name = verbose_name_plural = "incident rules"
        ordering = ["rule"]

    def __str__(self) -> str:
        return self.rule

    def limits(self, defaults: Limits) -> Limits:
        chosen: dict[str, Any] = {
            name: value
            for name in ("threshold", "critical_threshold", "minimum", "severity")
            if (value := getattr(self, name)) not in (None, "")
        }
        if self.window_seconds is not None:
            chosen["window"] = timedelta(seconds=self.window_seconds)
        if "severity" in chosen:
            chosen["severity"] = Severity(chosen["severity"])
        return replace(defaults, is_on=self.is_on, **chosen)


class Suspicion(models.Model):
    """What a rule finds wrong but does not believe yet: it has to last."""

    rule = models.CharField(max_length=64, primary_key=True)
    since = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "telemetry_suspicion"

    def __str__(self) -> str:
        return self.rule


class DigestSent(models.Model):
    """That the digest of a day was entered for whom it is: the row is the claim."""

    id = models.BigAutoField(primary_key=True)
    whose = models.CharField(max_length=40)
    """`installation`, or the id of a domain."""
    day = models.DateField()
    """Which it is about, in the time zone of whom it is for."""
    at = models.DateTimeField()

    class Meta:
        db_table = "telemetry_digest_sent"
        constraints = [models.UniqueConstraint(fields=["whose", "day"], name="digest_once")]

    def __str__(self) -> str:
        return f"{self.whose} {self.day}"
