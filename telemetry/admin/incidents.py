"""Incidents and their rules in the admin: what is wrong, who looks after it, and from when on it counts as wrong."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html_join

from accounts.console import ModelAdmin, TabularInline
from telemetry.admin.record import MachineRows
from telemetry.models import Incident, IncidentStep, Limits, RuleSettings
from telemetry.notices import incidents
from telemetry.notices.rules import RULES
from telemetry.notices.wording import duration

BY_NAME = {rule.name: rule for rule in RULES}


class StepInline(TabularInline):
    model = IncidentStep
    fields = ("number", "kind", "severity", "at", "by", "sentence", "facts", "notice_id")
    readonly_fields = fields
    can_delete = False
    extra = 0
    verbose_name_plural = "history: each line was told in one notice"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Incident)
class IncidentAdmin(MachineRows):
    ways_to_domain = ("domain_id",)
    list_display = ("short", "state", "severity", "rule", "label", "sentence", "since", "age")
    list_filter = ("state", "severity", "rule", "domain")
    search_fields = ("object__exact", "label__icontains")
    sortable_by = ("since",)
    list_select_related = ("domain",)
    inlines = (StepInline,)
    actions = ("acknowledge", "resolve")
    fieldsets = (
        (None, {"fields": (("state", "severity"), "sentence", "advice")}),
        ("What it is about", {"fields": (("rule", "object"), "label", "domain", "figures")}),
        ("When", {"fields": (("since", "age", "resolved_at"), ("seen_at", "evaluated_at", "evaluations"))}),
        ("Who looks after it", {"fields": (("acknowledged_by", "acknowledged_at"),)}),
    )
    readonly_fields = ("figures", "since", "age")

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Rows stay as they are; what may be said about them is a right of those who could change them."""
        user = request.user
        return user.has_perm("telemetry.change_incident")

    @admin.display(description="Incident")
    def short(self, incident: Incident) -> str:
        return incident.short_id

    @admin.display(description="Since (UTC)", ordering="opened_at")
    def since(self, incident: Incident) -> str:
        return f"{incident.opened_at:%Y-%m-%d %H:%M}"

    @admin.display(description="Age")
    def age(self, incident: Incident) -> str:
        return duration(((incident.resolved_at or timezone.now()) - incident.opened_at).total_seconds())

    @admin.display(description="Facts")
    def figures(self, incident: Incident) -> str:
        return format_html_join("", "<div>{}: {}</div>", incident.facts.items()) or "—"

    @admin.action(description="Acknowledge the selected incidents", permissions=["manage"])
    def acknowledge(self, request: HttpRequest, chosen: "QuerySet[Incident]") -> None:
        self._all(request, chosen, incidents.acknowledge, "acknowledged: silent until they worsen or are over")

    @admin.action(description="Resolve the selected incidents", permissions=["manage"])
    def resolve(self, request: HttpRequest, chosen: "QuerySet[Incident]") -> None:
        self._all(request, chosen, incidents.resolve, "resolved: what is still wrong comes back")

    def _all(
        self,
        request: HttpRequest,
        chosen: "QuerySet[Incident]",
        change: Callable[[Incident, User | None, datetime], bool],
        outcome: str,
    ) -> None:
        user = request.user
        who = user if isinstance(user, User) else None
        done = sum(change(incident, who, timezone.now()) for incident in chosen)
        level = messages.SUCCESS if done else messages.WARNING
        self.message_user(request, f"Of {len(chosen)} incidents {done} are {outcome}.", level)


@admin.register(RuleSettings)
class RuleSettingsAdmin(ModelAdmin):
    list_display = ("title", "is_on", "counts_from", "window", "severity_now")
    list_display_links = ("title",)
    readonly_fields = ("meaning",)
    fields = ("meaning", "is_on", "threshold", "critical_threshold", "minimum", "window_seconds", "severity")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """A row for each rule there is, so that it can be changed."""
        if self.has_view_permission(request):
            RuleSettings.objects.bulk_create([RuleSettings(rule=name) for name in BY_NAME], ignore_conflicts=True)
        return super().changelist_view(request, extra_context)

    def get_queryset(self, request: HttpRequest) -> "QuerySet[RuleSettings]":
        return super().get_queryset(request).filter(rule__in=BY_NAME)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="Rule")
    def title(self, row: RuleSettings) -> str:
        return BY_NAME[row.rule].title

    @admin.display(description="What the numbers mean")
    def meaning(self, row: RuleSettings) -> str:
        rule = BY_NAME[row.rule]
        return f"{rule.title}. {rule.numbers} Empty fields: {_numbers(rule.defaults)}.".replace("  ", " ")

    @admin.display(description="Counts from")
    def counts_from(self, row: RuleSettings) -> str:
        limits = _now(row)
        critical = "" if limits.critical_threshold is None else f", critical {limits.critical_threshold:g}"
        return f"{limits.threshold:g}{critical}, at least {limits.minimum}"

    @admin.display(description="Window")
    def window(self, row: RuleSettings) -> str:
        return duration(_now(row).window.total_seconds())

    @admin.display(description="Severity")
    def severity_now(self, row: RuleSettings) -> str:
        return _now(row).severity.label


def _now(row: RuleSettings) -> Limits:
    return row.limits(BY_NAME[row.rule].defaults)


def _numbers(limits: Limits) -> str:
    critical = "" if limits.critical_threshold is None else f"critical from {limits.critical_threshold:g}, "
    window = duration(limits.window.total_seconds())
    return f"threshold {limits.threshold:g}, {critical}minimum {limits.minimum}, window {window}, {limits.severity}"
