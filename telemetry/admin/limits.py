"""Limits and budgets in the admin, with what is used of them now."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString, mark_safe

from accounts.admin import ClientKeyAdmin
from accounts.facts import BudgetFacts, LimitFacts
from accounts.models import Budget, ClientKey, RateLimit
from accounts.register import budget_facts, limit_facts, load
from telemetry.limits import overview
from telemetry.limits.forecast import forecast
from telemetry.limits.overshoot import overshoot
from telemetry.limits.overview import Line, Overview
from telemetry.money import prices

admin.site.unregister(ClientKey)


class LiveUse(admin.ModelAdmin):
    """A page that shows what is used now, and goes on showing it."""

    class Media:
        js = ("telemetry/live.js",)
        css = {"all": ("telemetry/limits.css",)}

    def use_of(self, row: Any) -> Overview:
        raise NotImplementedError

    @admin.display(description="Used now")
    def use(self, row: Any) -> SafeString:
        if row is None or row._state.adding:
            return mark_safe("It is shown here once this is saved.")
        url = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_use", args=[row.pk])
        return render_to_string("telemetry/use_live.html", {"url": url, "use": self.use_of(row)})

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_use"
        return [path("<uuid:row_id>/use/", self.admin_site.admin_view(self._use), name=name), *super().get_urls()]

    def _use(self, request: HttpRequest, row_id: UUID) -> HttpResponse:
        row = self.get_queryset(request).filter(pk=row_id).first()
        if row is None or not self.has_view_permission(request, row):
            raise Http404
        return render(request, "telemetry/_use.html", {"use": self.use_of(row)})


@admin.register(RateLimit)
class RateLimitAdmin(LiveUse):
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
        return overview.of_limit(limit_facts(row))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self._fullest = _fullest_of_limits([limit_facts(row) for row in self.get_queryset(request)[:SHOWN_MAX]])
        return super().changelist_view(request, extra_context)

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

    @admin.display(description="Fullest now")
    def fullest(self, row: RateLimit) -> str:
        return _bar(self._fullest.get(row.id))


@admin.register(Budget)
class BudgetAdmin(LiveUse):
    list_display = ("name", "whose", "period", "amount", "spent", "ends", "is_active")
    list_filter = ("is_active", "period", "domain")
    list_select_related = ("domain", "client_key__domain")
    search_fields = ("name", "domain__host", "client_key__name")
    autocomplete_fields = ("domain", "client_key")
    readonly_fields = ("use", "overspending", "ends", "requests")
    fieldsets = (
        (None, {"fields": ("name", "is_active")}),
        ("Whose money", {"fields": (("domain", "client_key"), "each")}),
        (
            "How much",
            {"fields": (("amount_usd", "period"), "max_request_usd", "overspending", "thresholds", "starts_at")},
        ),
        ("Use", {"fields": ("use", "ends", "requests")}),
    )

    def use_of(self, row: Budget) -> Overview:
        return overview.of_budget_alone(budget_facts(row), overview.keys_of(load()))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        rows = [budget_facts(row) for row in self.get_queryset(request)[:SHOWN_MAX]]
        self._fullest = _fullest_of_budgets(rows)
        self._ends = {budget.id: forecast(budget) for budget in rows}
        return super().changelist_view(request, extra_context)

    @admin.display(description="Whose")
    def whose(self, row: Budget) -> str:
        payer = str(row.client_key or row.domain or "everything")
        return f"{row.get_each_display()} of {payer}" if row.each else payer

    @admin.display(description="Amount", ordering="amount_usd")
    def amount(self, row: Budget) -> str:
        return f"${row.amount_usd:,.2f}"

    @admin.display(description="Spent and held now")
    def spent(self, row: Budget) -> str:
        return _bar(self._fullest.get(row.id))

    @admin.display(description="Will be spent (UTC)")
    def ends(self, row: Budget) -> str:
        at = None if row._state.adding else forecast(budget_facts(row))
        return f"about {at:%a %Y-%m-%d %H:00}, at the pace of the last day" if at else "it lasts, at the present pace"

    @admin.display(description="Overspending")
    def overspending(self, row: Budget) -> str:
        return overshoot(row, prices.load()).sentence

    @admin.display(description="Requests behind it")
    def requests(self, row: Budget) -> SafeString:
        url = reverse("admin:telemetry_exchangerow_changelist")
        query = f"?domain__id__exact={row.domain_id}" if row.domain_id else ""
        if row.client_key_id:
            query = f"?client_key__id__exact={row.client_key_id}"
        return mark_safe(f'<a href="{url}{query}">Exchanges</a>')  # noqa: S308 (an id of ours)


@admin.register(ClientKey)
class LimitedClientKeyAdmin(ClientKeyAdmin, LiveUse):
    def get_fieldsets(self, request: HttpRequest, obj: ClientKey | None = None) -> Any:
        found = [*super().get_fieldsets(request, obj)]
        return found if obj is None else [*found, ("Limits and their use", {"fields": ("use",)})]

    def get_readonly_fields(self, request: HttpRequest, obj: ClientKey | None = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, obj), "use")

    def use_of(self, row: ClientKey) -> Overview:
        snapshot = load()
        key = next((key for key in overview.keys_of(snapshot) if key.id == row.id), None)
        return overview.of_key(snapshot, key) if key else Overview([], "this key is not in use", False)


SHOWN_MAX = 200
RATES = (
    "requests_per_minute",
    "requests_per_hour",
    "concurrent_requests",
    "input_tokens_per_minute",
    "input_tokens_per_hour",
    "output_tokens_per_minute",
    "output_tokens_per_hour",
)


def _fullest_of_limits(limits: list[LimitFacts]) -> dict[UUID, Line]:
    return overview.fullest({limit.id: overview.meters_alone(limit) for limit in limits})


def _fullest_of_budgets(budgets: list[BudgetFacts]) -> dict[UUID, Line]:
    keys = overview.keys_of(load())
    return overview.fullest({budget.id: overview.budget_meters(budget, keys) for budget in budgets})


def _bar(line: Line | None) -> SafeString | str:
    return render_to_string("telemetry/_bar.html", {"line": line}) if line else "—"
