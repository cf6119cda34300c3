"""The record in the admin: to be read, not to be changed."""

from typing import Any, cast

import msgspec
from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join

from accounts.console import ModelAdmin
from accounts.models import Credential
from accounts.scoping import viewer_in
from telemetry.lookup import as_uuid
from telemetry.models import Adjustment, BodyRow, ExchangeRow, PriceRow
from telemetry.money import amounts
from telemetry.record.message import message_from_stream

SAID = ("message", "request_body", "response_body", "request_headers", "response_headers")
"""Fields that take the permission to see bodies."""
COUNTED_MAX_ROWS = 10_000
SHOWN_MAX_CHARACTERS = 200_000
SHOWN_MAX_ADJUSTMENTS = 100
TEXT_STYLE = "white-space:pre-wrap;overflow-wrap:anywhere;max-height:40em;overflow:auto;margin:0"


class CappedPaginator(Paginator):
    """Counts no further than somebody pages: a count of all rows would read the whole table on every page."""

    @cached_property
    def count(self) -> int:
        return cast("QuerySet[Any]", self.object_list)[:COUNTED_MAX_ROWS].count()


class MachineRows(ModelAdmin):
    """Rows that a machine wrote."""

    paginator = CappedPaginator
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(ExchangeRow)
class ExchangeAdmin(MachineRows):
    ways_to_domain = ("domain_id",)
    linked_by = ("id", "client_key")
    list_display = ("started", "status", "outcome", "caller", "kind", "asked_model", "tokens", "costs", "took")
    list_filter = ("outcome", "kind", "domain")  # each has an index
    sortable_by = ("started",)  # by anything else the whole table would be sorted
    list_select_related = ("client_key",)
    search_fields = ("session_id__exact", "agent_id__exact", "upstream_request_id__exact", "correlation_id__exact")
    search_help_text = "A request id (of Nexus, the API or a trusted peer), a session or an agent id: the whole of it."
    fieldsets = (
        (None, {"fields": (("id", "correlation_id"), ("started_at", "duration_ms", "first_byte_ms", "overhead_us"))}),
        (
            "Who",
            {"fields": (("domain", "client_key"), ("answered_with", "credential_source"), "user_id", "user_agent")},
        ),
        ("Session", {"fields": (("session_id", "agent_id", "parent_agent_id"), "client_address")}),
        ("Request", {"fields": (("method", "path", "query"), ("kind", "is_stream", "model"), "request_bytes")}),
        (
            "Answer",
            {
                "fields": (
                    ("status", "outcome", "stop_reason"),
                    ("error_type", "error_message"),
                    ("refused_by", "waited_ms"),
                )
            },
        ),
        ("Upstream", {"fields": (("answered_model", "attempts", "tries"), ("upstream_request_id", "message_id"))}),
        (
            "Usage",
            {
                "fields": (
                    ("input_tokens", "output_tokens", "usage_source"),
                    ("cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"),
                    ("tool_calls", "web_search_requests", "web_fetch_requests", "code_execution_requests"),
                    "usage",
                )
            },
        ),
        ("Cost", {"fields": ("costs", "prices", "assumed_cost", "adjustments", ("is_declined", "refusals"))}),
    )
    readonly_fields = ("costs", "prices", "adjustments", "answered_with")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[ExchangeRow]":
        return super().get_queryset(request).defer("usage", "error_message")

    def get_fieldsets(self, request: HttpRequest, obj: ExchangeRow | None = None) -> Any:
        found = super().get_fieldsets(request, obj)
        return [*found, ("Bodies", {"fields": SAID})] if viewer_in(request).may_see_bodies else found

    def get_readonly_fields(self, request: HttpRequest, obj: ExchangeRow | None = None) -> Any:
        found = super().get_readonly_fields(request, obj)
        return (*found, *SAID) if viewer_in(request).may_see_bodies else found

    @admin.display(description="Credential")
    def answered_with(self, row: ExchangeRow) -> str:
        return name_of(row.credential)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        exchange_id = as_uuid(search_term.strip())
        return (found if exchange_id is None else found | queryset.filter(id=exchange_id)), may_repeat

    @admin.display(description="Started (UTC)", ordering="id")
    def started(self, row: ExchangeRow) -> str:
        return on_one_line(f"{row.started_at:%b %d %H:%M:%S}")

    @admin.display(description="Client key")
    def caller(self, row: ExchangeRow) -> str:
        return row.client_key.name if row.client_key else "—"

    @admin.display(description="Model")
    def asked_model(self, row: ExchangeRow) -> str:
        return on_one_line(row.model or "—")

    @admin.display(description="Tokens in / out")
    def tokens(self, row: ExchangeRow) -> str:
        read = row.input_tokens + row.cache_read_tokens + row.cache_write_5m_tokens + row.cache_write_1h_tokens
        return on_one_line(f"{read:,} / {row.output_tokens:,}")

    @admin.display(description="Cost")
    def costs(self, row: ExchangeRow) -> str:
        return on_one_line(amounts.cost(row.pricing, row.cost))

    @admin.display(description="Prices used")
    def prices(self, row: ExchangeRow) -> str:
        ids = [price_id for part in row.price_ids.split(",") if (price_id := as_uuid(part))]
        found = PriceRow.objects.filter(id__in=ids)
        links = ((reverse("admin:telemetry_pricerow_change", args=[price.id]), str(price)) for price in found)
        return format_html_join(", ", '<a href="{}">{}</a>', links) or "—"

    @admin.display(description="Adjustments")
    def adjustments(self, row: ExchangeRow) -> str:
        """From the first one, which tells what was booked when it closed."""
        made = Adjustment.objects.filter(exchange_id=row.id, batch_id="").order_by("id")[:SHOWN_MAX_ADJUSTMENTS]
        lines = ((f"{each.made_at:%Y-%m-%d %H:%M} UTC", str(each)) for each in made)
        return format_html_join("", "<div>{}: {}</div>", lines) or "—"

    @admin.display(description="First byte / all ms")
    def took(self, row: ExchangeRow) -> str:
        first = "—" if row.first_byte_ms is None else f"{row.first_byte_ms:,}"
        return on_one_line(f"{first} / {row.duration_ms:,}")

    @admin.display(description="Answer, rebuilt from the stream")
    def message(self, row: ExchangeRow) -> str:
        message = message_from_stream(row.response_body() or b"")
        return _shown(msgspec.json.encode(message)) if message else "—"

    @admin.display(description="Request body")
    def request_body(self, row: ExchangeRow) -> str:
        return _shown(row.request_body())

    @admin.display(description="Response body")
    def response_body(self, row: ExchangeRow) -> str:
        return _shown(row.response_body())

    @admin.display(description="Request headers")
    def request_headers(self, row: ExchangeRow) -> str:
        return _header_lines(row, "request_headers")

    @admin.display(description="Response headers")
    def response_headers(self, row: ExchangeRow) -> str:
        return _header_lines(row, "response_headers")


def name_of(credential: Credential | None) -> str:
    """Alone: it may be another domain's, which lets this one use it."""
    return "—" if credential is None else credential.name


def _header_lines(row: ExchangeRow, name: str) -> str:
    body: BodyRow | None = getattr(row, "body", None)
    if body is None:
        return "Not kept."
    pairs = msgspec.json.decode(getattr(body, name), type=list[tuple[str, str]])
    return _boxed("\n".join(f"{header}: {value}" for header, value in pairs))


def _shown(body: bytes | None) -> str:
    """A body for reading: JSON indented, anything else as it is, cut where a browser would suffer."""
    if body is None:
        return "Not kept."
    if not body:
        return "Empty."
    try:
        text = msgspec.json.format(body, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = body.decode("utf-8", "replace")
    if len(text) > SHOWN_MAX_CHARACTERS:
        text = f"{text[:SHOWN_MAX_CHARACTERS]}\n… cut here: {len(body):,} bytes in all"
    return _boxed(text)


def on_one_line(text: str) -> str:
    return format_html('<span style="white-space:nowrap">{}</span>', text)


def _boxed(text: str) -> str:
    return format_html('<pre style="{}">{}</pre>', TEXT_STYLE, text)
