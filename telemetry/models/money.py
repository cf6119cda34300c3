"""Money: what tokens cost from when on, and what was corrected afterwards."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

from accounts.ids import new_id
from accounts.models import RegisterQuerySet
from telemetry.money.amounts import dollars
from telemetry.money.charges import PROMPT_STEPS

FIXED_BEFORE = timedelta(minutes=5)
"""Clocks of nodes differ: one may use a price a little early."""
MODEL_ID = re.compile(r"[\w.:@*-]+")
TWICE = (
    "There is a price of this model from that moment on already. To correct it, let this one begin a second later and "
    "reprice."
)
_NOT_NEGATIVE = [MinValueValidator(Decimal(0))]


def _usd_per_mtok(name: str, *, optional: bool = False) -> "models.DecimalField[Decimal, Decimal]":
    return models.DecimalField(
        name,
        max_digits=14,
        decimal_places=6,
        validators=_NOT_NEGATIVE,
        null=optional,
        blank=optional,
        help_text="USD per million tokens.",
    )


def _factor(name: str, help_text: str, default: Decimal | None = None) -> "models.DecimalField[Decimal, Decimal]":
    is_optional = default is None
    return models.DecimalField(
        name,
        max_digits=8,
        decimal_places=4,
        validators=_NOT_NEGATIVE,
        null=is_optional,
        blank=is_optional,
        default=default,
        help_text=help_text,
    )


class PriceRow(models.Model):
    """What the tokens of a model cost from a moment on. A new price is a new row, so that what was booked under the old
    one stays explained."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    pattern = models.CharField(
        "model",
        max_length=200,
        validators=[RegexValidator(rf"^{MODEL_ID.pattern}\Z", "Use a model's id; * stands for any characters.")],
        help_text="A model's id as the API answers it, such as claude-opus-5-5; * stands for any characters. Where "
        "several fit, the one without * counts, else the one with the most characters.",
    )
    valid_from = models.DateTimeField(
        help_text="UTC. It counts for requests that begin then or later, until a newer row of the same model does. "
        "From that moment on its figures are fixed."
    )
    input = _usd_per_mtok("input")
    output = _usd_per_mtok("output")
    cache_write_5m = _usd_per_mtok("cache write, 5 minutes")
    cache_write_1h = _usd_per_mtok("cache write, 1 hour")
    cache_read = _usd_per_mtok("cache read")
    batch_factor = _factor("batch factor", "All token prices are multiplied by it in a message batch.", Decimal("0.5"))
    fast_factor = _factor(
        "fast mode factor", "For answers in fast mode. Empty: the model has none, and such an answer would be unpriced."
    )
    us_factor = _factor("US-only factor", "For inference that stays in the US. Empty: it costs as much as elsewhere.")
    long_above_tokens = models.PositiveIntegerField(
        "longer prompt",
        choices=[(step, f"more than {step:,} tokens") for step in reversed(PROMPT_STEPS)],
        default=PROMPT_STEPS[0],
        help_text="What counts as one. Tokens read from the cache or written to it are part of the prompt.",
    )
    long_input = _usd_per_mtok("input, longer prompt", optional=True)
    long_output = _usd_per_mtok("output, longer prompt", optional=True)
    long_cache_write_5m = _usd_per_mtok("cache write, 5 minutes, longer prompt", optional=True)
    long_cache_write_1h = _usd_per_mtok("cache write, 1 hour, longer prompt", optional=True)
    long_cache_read = _usd_per_mtok("cache read, longer prompt", optional=True)
    web_search_per_thousand = models.DecimalField(
        "web searches",
        max_digits=14,
        decimal_places=6,
        default=Decimal(10),
        validators=_NOT_NEGATIVE,
        help_text="USD per thousand searches.",
    )
    source = models.CharField(max_length=200, help_text="Where this price was read, and when.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = RegisterQuerySet.as_manager()

    class Meta:
        db_table = "telemetry_price"
        verbose_name = "price"
        ordering = ["pattern", "-valid_from"]
        constraints = [
            models.UniqueConstraint(fields=["pattern", "valid_from"], name="price_once", violation_error_message=TWICE)
        ]

    def __str__(self) -> str:
        return f"{self.pattern} from {self.valid_from:%Y-%m-%d}"

    def is_fixed(self, now: datetime | None = None) -> bool:
        """It has begun, so that costs may name it: it explains them, and stays as it is."""
        return self.valid_from <= (now or timezone.now()) + FIXED_BEFORE


class Adjustment(models.Model):
    """A cost that the reprice job changed, in the transaction that changed it: the first one of an exchange tells what
    was booked when it closed."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    run_id = models.UUIDField()
    """All that one run of the job changed."""
    exchange_id = models.UUIDField(db_index=True)
    """Without a constraint: exchanges are deleted after their days, what was booked stays explained."""
    batch_id = models.CharField(max_length=100, default="")
    model = models.CharField(max_length=200)
    made_at = models.DateTimeField(default=timezone.now)
    cost_before = models.DecimalField(max_digits=20, decimal_places=10, null=True)
    cost_after = models.DecimalField(max_digits=20, decimal_places=10, null=True)
    price_ids_before = models.TextField(default="")
    price_ids_after = models.TextField(default="")

    class Meta:
        db_table = "telemetry_adjustment"
        ordering = ["-id"]
        indexes = [models.Index(fields=["run_id"], name="adjustment_run")]
        verbose_name = "adjustment"

    def __str__(self) -> str:
        before, after = ("unpriced" if cost is None else dollars(cost) for cost in (self.cost_before, self.cost_after))
        return f"{before} → {after}"


class RepricingRow(models.Model):
    """A run of the reprice job in the background: what it is to look at, and how far it has come."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    """Also the `run_id` of its adjustments."""
    asked_at = models.DateTimeField(default=timezone.now)
    asked_by = models.CharField(max_length=150)
    since = models.DateTimeField(null=True)
    until = models.DateTimeField(null=True)
    patterns = models.TextField(default="")
    """One a line."""
    reached = models.UUIDField(default=UUID(int=0))
    """The last exchange that was looked at."""
    looked_at = models.PositiveBigIntegerField(default=0)
    changed = models.PositiveBigIntegerField(default=0)
    cost_before = models.DecimalField(max_digits=20, decimal_places=10, default=Decimal(0))
    """Of those that changed, as after."""
    cost_after = models.DecimalField(max_digits=20, decimal_places=10, default=Decimal(0))
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "telemetry_repricing"
        verbose_name = "repricing"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.asked_at:%Y-%m-%d %H:%M} by {self.asked_by}"
