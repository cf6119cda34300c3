"""Prices and what was corrected, in the admin."""

import contextlib
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.text import Truncator
from kombu.exceptions import OperationalError

from accounts.console import ModelAdmin
from accounts.ids import first_id_at
from accounts.scoping import viewer_in
from telemetry.admin.record import MachineRows, on_one_line
from telemetry.lookup import as_uuid
from telemetry.models import Adjustment, ExchangeRow, PriceRow, RepricingRow
from telemetry.money import amounts, repricings
from telemetry.money.pricing import matches
from telemetry.money.repricing import preview
from telemetry.money.unpriced import unpriced_models
from telemetry.tasks import continue_repricing

RATES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
LONG_RATES = tuple(f"long_{name}" for name in RATES)
FIGURES = (
    *RATES,
    "batch_factor",
    "fast_factor",
    "us_factor",
    "long_above_tokens",
    *LONG_RATES,
    "web_search_per_thousand",
)
COUNTED_MAX_ROWS = 10_000
PREVIEW_SECONDS = 3.0
ADD, CHANGE_LIST = "admin:telemetry_pricerow_add", "admin:telemetry_pricerow_changelist"
REPRICE = "admin:telemetry_pricerow_reprice"
FIXED = (
    "This price has begun: costs may name it, and it stays as it is to explain them. <a href='{}'>Add a newer row</a> "
    "instead. To correct what this one priced, let the newer one begin a second after it, and reprice."
)


def _rates(*rates: Decimal | None) -> str:
    if all(rate is None for rate in rates):
        return "—"
    return on_one_line(" / ".join("—" if rate is None else _rate(rate) for rate in rates))


def _rate(rate: Decimal) -> str:
    """With cents, and with more places only where there are any."""
    return f"{rate:.2f}" if rate == round(rate, 2) else f"{rate.normalize():f}"


def doubts(row: PriceRow) -> list[str]:
    """What makes little sense, in sentences; nothing of it is refused."""
    found = []
    if row.cache_read > row.input:
        found.append("Reading from the cache is dearer than input.")
    if min(row.cache_write_5m, row.cache_write_1h) < row.input:
        found.append("Writing to the cache is cheaper than input.")
    if row.cache_write_1h < row.cache_write_5m:
        found.append("A cache write for 1 hour is cheaper than one for 5 minutes.")
    if row.output < row.input:
        found.append("Output is cheaper than input.")
    if (row.fast_factor or 1) < 1:
        found.append("Fast mode is cheaper than the usual one.")
    if row.batch_factor > 1:
        found.append("A message batch is dearer than single messages.")
    if not row.input or not row.output:
        found.append("Input or output costs nothing: such exchanges will count as priced at $0.")
    return found


def began_since(row: PriceRow) -> int:
    """Exchanges of its model since it is valid, counted no further than `COUNTED_MAX_ROWS` back."""
    newest = ExchangeRow.objects.filter(id__gte=first_id_at(row.valid_from)).order_by("-id")[:COUNTED_MAX_ROWS]
    names = newest.values_list("answered_model", "model")
    return sum(matches(row.pattern, answered or asked) for answered, asked in names)


class PriceForm(forms.ModelForm):
    def clean_source(self) -> str:
        return " ".join(self.cleaned_data["source"].split())


@admin.register(PriceRow)
class PriceAdmin(ModelAdmin):
    is_for_all = True
    form = PriceForm
    change_list_template = "telemetry/prices.html"
    list_display = ("pattern_on_one_line", "since", "tokens", "cached", "longer_prompts", "factors", "read_in")
    search_fields = ("pattern", "source")
    actions = ("reprice",)
    fieldsets = (
        (None, {"fields": ("pattern", "valid_from", "source")}),
        ("USD per million tokens", {"fields": RATES}),
        ("Factors", {"fields": ("batch_factor", "fast_factor", "us_factor")}),
        (
            "Longer prompts",
            {
                "fields": ("long_above_tokens", *LONG_RATES),
                "description": "Some models cost more where the prompt is long. Empty: the same as above.",
            },
        ),
        ("The API's own tools", {"fields": ("web_search_per_thousand",)}),
    )

    # --- The list ---------------------------------------------------------------------------------------------------

    @admin.display(description="Model", ordering="pattern")
    def pattern_on_one_line(self, row: PriceRow) -> str:
        return on_one_line(row.pattern)

    @admin.display(description="Valid from (UTC)", ordering="valid_from")
    def since(self, row: PriceRow) -> str:
        is_whole_day = row.valid_from == row.valid_from.replace(hour=0, minute=0, second=0, microsecond=0)
        return on_one_line(f"{row.valid_from:%Y-%m-%d}" if is_whole_day else f"{row.valid_from:%Y-%m-%d %H:%M:%S}")

    @admin.display(description="$ per M tokens: in / out")
    def tokens(self, row: PriceRow) -> str:
        return _rates(row.input, row.output)

    @admin.display(description="Cache: write 5 min / 1 h / read")
    def cached(self, row: PriceRow) -> str:
        return _rates(row.cache_write_5m, row.cache_write_1h, row.cache_read)

    @admin.display(description="Longer prompts: in / out")
    def longer_prompts(self, row: PriceRow) -> str:
        return _rates(row.long_input, row.long_output)

    @admin.display(description="Fast mode / US only")
    def factors(self, row: PriceRow) -> str:
        factors: tuple[Decimal | None, ...] = (row.fast_factor, row.us_factor)
        shown = ("—" if factor is None else f"{factor.normalize():f} times" for factor in factors)
        return on_one_line(" / ".join(shown))

    @admin.display(description="Source")
    def read_in(self, row: PriceRow) -> str:
        return on_one_line(Truncator(row.source).chars(40))

    # --- What may be changed ------------------------------------------------------------------------------------------

    def get_readonly_fields(self, request: HttpRequest, obj: PriceRow | None = None) -> tuple[str, ...]:
        return ("pattern", "valid_from", "source", *FIGURES) if obj is not None and obj.is_fixed() else ()

    def get_fieldsets(self, request: HttpRequest, obj: PriceRow | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or not obj.is_fixed():
            return fieldsets
        (title, options), *others = fieldsets
        description = format_html(FIXED, f"{reverse(ADD)}?{urlencode(_as_newer(obj))}")
        return ((title, options | {"description": description}), *others)

    def has_delete_permission(self, request: HttpRequest, obj: PriceRow | None = None) -> bool:
        may = super().has_delete_permission(request, obj)
        return may and (obj is None or not obj.is_fixed())

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Prices are deleted one by one, if at all."""
        return {name: action for name, action in super().get_actions(request).items() if name != "delete_selected"}

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Links to the form say what it begins with, the moment as text."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        moment = parse_datetime(str(initial.pop("valid_from", "")).strip())
        return initial if moment is None else initial | {"valid_from": moment.replace(tzinfo=UTC)}

    def save_model(self, request: HttpRequest, obj: PriceRow, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        for doubt in doubts(obj):
            self.message_user(
                request, f"{doubt} The price of {obj.pattern} is saved as you wrote it.", messages.WARNING
            )
        if obj.valid_from <= timezone.now():
            self._tell_of_the_past(request, obj)

    def _tell_of_the_past(self, request: HttpRequest, row: PriceRow) -> None:
        count = began_since(row)
        text = (
            "The price of {} counts from {} UTC on, which has passed. What was booked since then keeps its cost until "
            "you <a href='{}'>reprice</a>: among the newest {} exchanges since then, {} {} of this model."
        )
        url = f"{reverse(REPRICE)}?ids={row.id}"
        since = f"{row.valid_from:%Y-%m-%d %H:%M}"
        verb = "is" if count == 1 else "are"
        told = format_html(text, row.pattern, since, url, f"{COUNTED_MAX_ROWS:,}", f"{count:,}", verb)
        self.message_user(request, told, messages.WARNING)

    # --- What has no price --------------------------------------------------------------------------------------------

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        found = unpriced_models() if viewer_in(request).sees_all else []  # of all domains' exchanges
        unpriced = [asdict(each) | {"add_url": _add_url(each.model, each.since)} for each in found]
        return super().changelist_view(request, {"unpriced": unpriced, **(extra_context or {})})

    # --- Repricing ----------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        own = path("reprice/", self.admin_site.admin_view(self.reprice_view), name="telemetry_pricerow_reprice")
        return [own, *super().get_urls()]

    @admin.action(description="Reprice what these prices concern", permissions=["change"])
    def reprice(self, request: HttpRequest, rows: "QuerySet[PriceRow]") -> HttpResponse:
        ids = ",".join(str(row_id) for row_id in rows.order_by("id").values_list("id", flat=True))
        return HttpResponseRedirect(f"{reverse(REPRICE)}?{urlencode({'ids': ids})}")

    def reprice_view(self, request: HttpRequest) -> HttpResponse:
        """Shows the difference first; asks for the work when it is confirmed."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        ids = [row_id for part in request.GET.get("ids", "").split(",") if (row_id := as_uuid(part))]
        rows = list(PriceRow.objects.filter(id__in=ids))
        if not rows:
            self.message_user(request, "These prices are not there any more.", messages.ERROR)
            return HttpResponseRedirect(reverse(CHANGE_LIST))
        scope = repricings.scope_of_prices(rows)
        if request.method == "POST":
            return self._ask(request, repricings.ask(scope, request.user.get_username()))
        report = preview(scope, PREVIEW_SECONDS)
        tallies = [*sorted(report.by_model.items()), ("all", report.total)] if report.by_model else []
        context = self.admin_site.each_context(request) | {
            "title": "Reprice",
            "patterns": scope.patterns,
            "since": scope.since,
            "report": report,
            "lines": [(name, each, *map(amounts.dollars, (each.before, each.after))) for name, each in tallies],
            "back": reverse(CHANGE_LIST),
        }
        return render(request, "telemetry/reprice.html", context)

    def _ask(self, request: HttpRequest, row: RepricingRow) -> HttpResponse:
        with contextlib.suppress(OperationalError):  # while the broker is away it begins with a later beat
            continue_repricing.apply_async(retry=False)
        self.message_user(request, "Repricing has begun. This list tells how far it has come.")
        return HttpResponseRedirect(reverse("admin:telemetry_repricingrow_changelist"))


def _as_newer(row: PriceRow) -> dict[str, Any]:
    """What the form of a newer row begins with."""
    figures = {name: value for name in FIGURES if (value := getattr(row, name)) is not None}
    return {"pattern": row.pattern, **{name: _plain(value) for name, value in figures.items()}}


def _plain(value: Decimal | int) -> str:
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


def _add_url(model: str, since: datetime) -> str:
    """From the first midnight before it was used."""
    return f"{reverse(ADD)}?{urlencode({'pattern': model, 'valid_from': f'{since:%Y-%m-%d} 00:00:00'})}"


@admin.register(Adjustment)
class AdjustmentAdmin(MachineRows):
    list_display = ("made", "model", "before", "after", "difference", "exchange", "batch_id")
    sortable_by = ()
    search_fields = ("batch_id__exact",)
    search_help_text = "The whole of an exchange's id, of a batch's id, or of a run's id."

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        an_id = as_uuid(search_term.strip())
        if an_id is None:
            return super().get_search_results(request, queryset, search_term)
        return queryset.filter(exchange_id=an_id) | queryset.filter(run_id=an_id), False

    @admin.display(description="Made (UTC)")
    def made(self, row: Adjustment) -> str:
        return f"{row.made_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Before")
    def before(self, row: Adjustment) -> str:
        return _or_unpriced(row.cost_before)

    @admin.display(description="After")
    def after(self, row: Adjustment) -> str:
        return _or_unpriced(row.cost_after)

    @admin.display(description="Difference")
    def difference(self, row: Adjustment) -> str:
        return amounts.dollars((row.cost_after or Decimal(0)) - (row.cost_before or Decimal(0)))

    @admin.display(description="Exchange")
    def exchange(self, row: Adjustment) -> str:
        url = reverse("admin:telemetry_exchangerow_change", args=[row.exchange_id])
        return format_html('<a href="{}">{}</a>', url, row.exchange_id)


@admin.register(RepricingRow)
class RepricingAdmin(MachineRows):
    list_display = ("asked_at", "asked_by", "since", "models", "looked_at", "changed", "before", "after", "state")
    sortable_by = ()

    @admin.display(description="Models")
    def models(self, row: RepricingRow) -> str:
        return ", ".join(row.patterns.split()) or "all"

    @admin.display(description="Before")
    def before(self, row: RepricingRow) -> str:
        return amounts.dollars(row.cost_before)

    @admin.display(description="After")
    def after(self, row: RepricingRow) -> str:
        return amounts.dollars(row.cost_after)

    @admin.display(description="State")
    def state(self, row: RepricingRow) -> str:
        return f"done {row.finished_at:%Y-%m-%d %H:%M} UTC" if row.finished_at else "at work"


def _or_unpriced(cost: Decimal | None) -> str:
    return "unpriced" if cost is None else amounts.dollars(cost)
