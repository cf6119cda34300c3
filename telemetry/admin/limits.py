"""Limits and budgets in the admin, with what is used of them now."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.widgets import AdminTextareaWidget
from django.db.models import TextField
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from accounts.access import Viewer
from accounts.admin import ClientKeyAdmin, DomainAdmin
from accounts.console import ModelAdmin
from accounts.ids import first_id_at
from accounts.models import Budget, ClientKey, Credential, Domain, RateLimit
from accounts.register import budget_facts
from accounts.scoping import own_rows, viewer_in
from telemetry.limits import overview
from telemetry.limits.forecast import forecast
from telemetry.limits.history import past_periods
from telemetry.limits.lines import Line, fullest
from telemetry.limits.overshoot import overshoot
from telemetry.limits.overview import Overview
from telemetry.limits.periods import period_of
from telemetry.limits.rules import rules_of
from telemetry.lookup import as_uuid
from telemetry.models import Incident
from telemetry.money import prices

SHOWN_MAX = 200
"""Rows of a list whose figures are asked for at once."""
HISTORY_MAX = 20
RATES = (
    "requests_per_minute",
    "requests_per_hour",
    "concurrent_requests",
    "input_tokens_per_minute",
    "input_tokens_per_hour",
    "output_tokens_per_minute",
    "output_tokens_per_hour",
)


class LiveUse(ModelAdmin):
    """A page, and a column of the list, that show what is used now, and go on showing it."""

    class Media:
        js = ("telemetry/live.js",)
        css = {"all": ("telemetry/limits.css",)}

    def use_of(self, row: Any) -> Overview:
        """For its page."""
        raise NotImplementedError

    def uses_of(self, rows: Sequence[Any]) -> dict[UUID, list[Line]]:
        """For the list, of all its rows at once."""
        raise NotImplementedError

    @admin.display(description="Used now")
    def use(self, row: Any) -> SafeString | str:
        if row is None or row._state.adding:
            return "It is shown here once this is saved."
        url = reverse(self._url_name("use"), args=[row.pk])
        return render_to_string("telemetry/use_live.html", {"url": url, "use": self._use_for(row.viewer, row)})

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """With who looks at it: its fields are not told."""
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            row.viewer = viewer_in(request)
        return row

    def _use_for(self, viewer: Viewer, row: Any) -> Overview:
        found = self.use_of(row)
        return found if viewer.sees_all else replace(found, lines=lines_for(viewer, found.lines))

    def _uses_for(self, viewer: Viewer, rows: Sequence[Any]) -> dict[UUID, list[Line]]:
        found = self.uses_of(rows)
        if viewer.sees_all:
            return found
        seen = {id(line) for line in lines_for(viewer, [line for lines in found.values() for line in lines])}
        return {row_id: [line for line in lines if id(line) in seen] for row_id, lines in found.items()}

    @admin.display(description="Fullest now")
    def fullest(self, row: Any) -> str:
        url = reverse(self._url_name("uses"))
        return format_html('<div data-live-list="{}" data-row="{}">{}</div>', url, row.pk, _bar(row.lines_now))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """With the figures of the rows on this page, however many rows there are."""
        changes = super().get_changelist_instance(request)
        rows = list(changes.result_list)
        found = self._uses_for(viewer_in(request), rows)
        for row in rows:
            row.lines_now = found.get(row.pk)
        changes.result_list = rows
        return changes

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("use/", view(self._uses), name=self._url_name("uses").removeprefix("admin:")),
            path("<uuid:row_id>/use/", view(self._use), name=self._url_name("use").removeprefix("admin:")),
            *super().get_urls(),
        ]

    def _url_name(self, what: str) -> str:
        return f"admin:{self.opts.app_label}_{self.opts.model_name}_{what}"

    def _use(self, request: HttpRequest, row_id: UUID) -> HttpResponse:
        row = self.get_queryset(request).filter(pk=row_id).first()
        if row is None or not self.has_view_permission(request, row):
            raise Http404
        return render(request, "telemetry/_use.html", {"use": self._use_for(viewer_in(request), row)})

    def _uses(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise Http404
        ids = [row_id for part in request.GET.get("ids", "").split(",")[:SHOWN_MAX] if (row_id := as_uuid(part))]
        rows = self.get_queryset(request).filter(pk__in=ids)
        if self.list_select_related:
            rows = rows.select_related(*self.list_select_related)  # type: ignore[misc] # it is a tuple here
        found = self._uses_for(viewer_in(request), list(rows))
        return JsonResponse({str(row_id): _bar(lines) for row_id, lines in found.items()})


def lines_for(viewer: Viewer, lines: list[Line]) -> list[Line]:
    """Without those of limits and budgets of everything, which tell what others use."""
    ids = {line.origin.id for line in lines}
    seen: set[UUID | None] = {None}
    for model in (RateLimit, Budget):
        seen.update(own_rows(model, viewer).filter(id__in=ids).values_list("id", flat=True))
    return [line for line in lines if line.origin.id in seen]


@admin.register(RateLimit)
class RateLimitAdmin(LiveUse):
    ways_to_domain = ("domain_id", "client_key__domain_id", "credential__domain_id")
    list_display = ("scope", "models", "rates", "fullest", "is_active")
    list_filter = ("is_active", "domain")
    list_select_related = ("domain", "client_key", "credential")
    search_fields = ("domain__host", "client_key__name", "credential__name", "model_pattern")
    autocomplete_fields = ("domain", "client_key", "credential")
    readonly_fields = ("use",)
    fieldsets = (
        (
            "Whose requests",
            {
                "fields": ("domain", "client_key", "credential", "model_pattern", "is_active"),
                "description": "Choose one of the three, or none of them: then it counts all requests together. A key "
                "or domain with a limit of its own for all models is not limited by RATE_LIMIT_… any more.",
            },
        ),
        ("Requests", {"fields": (("requests_per_minute", "requests_per_hour"), "concurrent_requests")}),
        (
            "Tokens",
            {
                "fields": (
                    ("input_tokens_per_minute", "input_tokens_per_hour"),
                    ("output_tokens_per_minute", "output_tokens_per_hour"),
                ),
                "description": "Requests are let in while there is room: what runs when a limit is reached may go over "
                "it.",
            },
        ),
        ("Use", {"fields": ("use",)}),
    )

    def use_of(self, row: RateLimit) -> Overview:
        return overview.of_limit(row)

    def uses_of(self, rows: Sequence[RateLimit]) -> dict[UUID, list[Line]]:
        return overview.of_limits(rows)

    @admin.display(description="Whose")
    def scope(self, row: RateLimit) -> str:
        return row.scope_label

    @admin.display(description="Models", ordering="model_pattern")
    def models(self, row: RateLimit) -> str:
        return row.model_pattern or "all"

    @admin.display(description="At most")
    def rates(self, row: RateLimit) -> str:
        said = [(name, getattr(row, name)) for name in RATES]
        return ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in said if value is not None) or "—"


@admin.register(Budget)
class BudgetAdmin(LiveUse):
    ways_to_domain = ("domain_id", "client_key__domain_id")
    list_display = ("name", "whose", "period", "amount", "fullest", "ends", "at_most_over", "is_active")
    list_filter = ("is_active", "period", "domain")
    list_select_related = ("domain", "client_key__domain")
    list_per_page = 25  # each row's forecast asks the record
    search_fields = ("name", "domain__host", "client_key__name")
    autocomplete_fields = ("domain", "client_key")
    readonly_fields = ("use", "overspending", "ends", "past", "told", "requests")
    fieldsets = (
        (None, {"fields": ("name", "is_active")}),
        ("Whose money", {"fields": (("domain", "client_key"), "each")}),
        (
            "How much",
            {"fields": (("amount_usd", "period"), "starts_at", "max_request_usd", "overspending", "thresholds")},
        ),
        ("Use", {"fields": ("use", "ends", "past", "told", "requests")}),
    )

    def use_of(self, row: Budget) -> Overview:
        return overview.of_budget(row)

    def uses_of(self, rows: Sequence[Budget]) -> dict[UUID, list[Line]]:
        return overview.of_budgets(rows)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changes, price_list = super().get_changelist_instance(request), prices.load()
        for row in changes.result_list:
            row.at_most_over = overshoot(row, price_list).amount_usd
        return changes

    @admin.display(description="Whose")
    def whose(self, row: Budget) -> str:
        payer = row.client_key.name if row.client_key else row.domain.host if row.domain else "everything"
        return f"{row.get_each_display()} of {payer}" if row.each else payer

    @admin.display(description="Amount", ordering="amount_usd")
    def amount(self, row: Budget) -> str:
        return f"${row.amount_usd:,.2f}"

    @admin.display(description="Ends (UTC)")
    def ends(self, row: Budget) -> str:
        if row._state.adding or row.each:
            return "—"
        at = forecast(budget_facts(row))
        return f"about {at:%A %b} {at.day}, {at:%H:00}" if at else "not at the present pace"

    @admin.display(description="At most over")
    def at_most_over(self, row: Any) -> str:
        return f"${row.at_most_over:,.2f}"

    @admin.display(description="Overspending")
    def overspending(self, row: Budget) -> str:
        return overshoot(row, prices.load()).sentence

    @admin.display(description="Earlier periods")
    def past(self, row: Budget) -> str:
        if row._state.adding:
            return "—"
        lines = ((f"{past.starts_at:%Y-%m-%d}", f"{past.usd:,.2f}", past.percent) for past in past_periods(row))
        return format_html_join("", "<div>from {}: ${}, {} % of the amount</div>", lines) or "—"

    @admin.display(description="What people were told")
    def told(self, row: Budget) -> str:
        """By the rules of incidents about budgets."""
        about = Incident.objects.filter(rule__startswith="budget", object__startswith=str(row.pk))
        lines = (
            (
                reverse("admin:telemetry_incident_change", args=[each.pk]),
                f"{each.opened_at:%Y-%m-%d %H:%M}",
                each.sentence,
            )
            for each in about.order_by("-opened_at")[:HISTORY_MAX]
        )
        return format_html_join("", '<div><a href="{}">{} UTC</a>: {}</div>', lines) or "nothing yet"

    @admin.display(description="Requests behind it")
    def requests(self, row: Budget) -> str:
        if row._state.adding:
            return "—"
        starts_at, _ = period_of(row.period, timezone.now(), row.starts_at)
        query = {"id__gte": first_id_at(starts_at), "domain__id__exact": row.domain_id, "client_key": row.client_key_id}
        asked = "&".join(f"{name}={value}" for name, value in query.items() if value)
        return format_html(
            '<a href="{}?{}">Exchanges of this period</a>',
            reverse("admin:telemetry_exchangerow_changelist"),
            mark_safe(asked),  # noqa: S308 (ids of ours)
        )


# --- What limits are about ---------------------------------------------------------------------------------------


class Limited(LiveUse):
    """The page of something that has limits."""

    limited_by = ""
    """The field of limits and budgets that names it."""
    has_budgets = True
    formfield_overrides = {TextField: {"widget": AdminTextareaWidget(attrs={"rows": 4})}}

    def get_list_display(self, request: HttpRequest) -> Any:
        return (*super().get_list_display(request), "fullest")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        found = [*super().get_fieldsets(request, obj)]
        return found if obj is None else [*found, ("Limits and their use", {"fields": ("use", "set_limits")})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*super().get_readonly_fields(request, obj), "use", "set_limits")

    @admin.display(description="Set")
    def set_limits(self, row: Any) -> str:
        wanted = [("Add a rate limit", "admin:accounts_ratelimit_add")]
        if self.has_budgets:
            wanted.append(("Add a budget", "admin:accounts_budget_add"))
        links = ((reverse(name), self.limited_by, row.pk, words) for words, name in wanted)
        return format_html_join(" · ", '<a href="{}?{}={}">{}</a>', links)


for _model in (ClientKey, Credential, Domain):
    admin.site.unregister(_model)


@admin.register(ClientKey)
class LimitedClientKeyAdmin(Limited, ClientKeyAdmin):
    limited_by = "client_key"

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        found = [*super().get_fieldsets(request, obj)]
        return found if obj is None else [*found[:-1], ("Its rules", {"fields": ("rules",)}), found[-1]]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*super().get_readonly_fields(request, obj), "rules")

    def use_of(self, row: ClientKey) -> Overview:
        return overview.of_key(row)

    def uses_of(self, rows: Sequence[ClientKey]) -> dict[UUID, list[Line]]:
        return overview.of_keys(rows)

    @admin.display(description="As they count now")
    def rules(self, row: ClientKey) -> str:
        return format_html_join("", "<div>{}</div>", ((rule,) for rule in rules_of(row)))


@admin.register(Domain)
class LimitedDomainAdmin(Limited, DomainAdmin):
    limited_by = "domain"

    def use_of(self, row: Domain) -> Overview:
        return overview.of_domain(row)

    def uses_of(self, rows: Sequence[Domain]) -> dict[UUID, list[Line]]:
        return overview.of_domains(rows)


def _bar(lines: Iterable[Line] | None) -> str:
    line = fullest(list(lines or ()))
    return render_to_string("telemetry/_bar.html", {"line": line}) if line else "—"
