"""Message batches in the admin: to be read, not to be changed."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.console import TabularInline
from telemetry.admin.record import MachineRows, name_of
from telemetry.models import BatchRow, BatchUsageRow

NOT_READ = "results not read through Nexus yet"
UNREADABLE = "{} lines of the results could not be read"
NO_OWNER_SEEN = "Nexus did not see it created: it is booked to the key that read it"
COUNTED = ("succeeded", "errored", "canceled", "expired")


class UsageInline(TabularInline):
    model = BatchUsageRow
    fields = (
        "model",
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_5m_tokens",
        "cache_write_1h_tokens",
        "web_search_requests",
        "pricing",
        "cost",
    )
    verbose_name_plural = "Usage, in USD by model"
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(BatchRow)
class BatchAdmin(MachineRows):
    ways_to_domain = ("domain_id",)
    list_display = ("id", "created_at", "client_key", "state", "requests", "cost")
    list_filter = ("domain",)
    sortable_by = ("created_at",)
    list_select_related = ("client_key",)
    search_fields = ("id__exact",)
    search_help_text = "The id of a batch (msgbatch_…): the whole of it."
    fieldsets = (
        (None, {"fields": ("id", "state", "cost")}),
        ("Created", {"fields": ("created_at", "created_by", ("domain", "client_key"), "answered_with")}),
        ("Booked", {"fields": ("booked_at", "booked_id", COUNTED)}),
    )
    readonly_fields = ("state", "cost", "answered_with")
    inlines = (UsageInline,)

    def get_queryset(self, request: HttpRequest) -> "QuerySet[BatchRow]":
        return super().get_queryset(request).prefetch_related("usage")

    @admin.display(description="Credential")
    def answered_with(self, batch: BatchRow) -> str:
        return name_of(batch.credential)

    @admin.display(description="State")
    def state(self, batch: BatchRow) -> str:
        if not batch.is_booked:
            return UNREADABLE.format(f"{batch.unreadable:,}") if batch.unreadable else NOT_READ
        return "booked" if batch.was_seen_created else f"booked. {NO_OWNER_SEEN}"

    @admin.display(description="Succeeded / not")
    def requests(self, batch: BatchRow) -> str:
        if not batch.is_booked:
            return "—"
        return f"{batch.succeeded:,} / {batch.errored + batch.canceled + batch.expired:,}"

    @admin.display(description="Cost in USD")
    def cost(self, batch: BatchRow) -> str:
        if not batch.is_booked:
            return "—"
        costs = [usage.cost for usage in batch.usage.all()]
        known = sum(cost for cost in costs if cost is not None)
        return f"{known:,.4f}" + (", and what has no price" if None in costs else "")
