"""Prices and what was corrected, in the admin."""

from django.contrib import admin

from telemetry.models import PriceRow

_RATES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")


@admin.register(PriceRow)
class PriceAdmin(admin.ModelAdmin):
    list_display = ("pattern", "valid_from", *_RATES, "fast_factor", "source")
    list_filter = ("valid_from",)
    search_fields = ("pattern", "source")
    fieldsets = (
        (None, {"fields": ("pattern", "valid_from", "source")}),
        ("USD per million tokens", {"fields": _RATES}),
        ("Factors", {"fields": ("batch_factor", "fast_factor", "us_factor")}),
        (
            "Prompts of more than 200,000 tokens",
            {
                "fields": tuple(f"long_{name}" for name in _RATES),
                "description": "Empty: the same as above.",
            },
        ),
        ("The API's own tools", {"fields": ("web_search_per_thousand",)}),
    )
