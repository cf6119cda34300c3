"""Models that were used and have no price: how often, since when, with how many tokens. What they cost is not known."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, F, Max, Min, Sum, Value
from django.db.models.functions import Coalesce, NullIf
from django.utils import timezone

from telemetry.models import BatchUsageRow, ExchangeRow, Pricing
from telemetry.money import prices

LOOKED_AT_MAX = 10_000
"""Of the newest unpriced exchanges, which have an index of their own: that many take 0.1 s."""
MODELS_MAX = 50
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")


@dataclass(frozen=True, slots=True)
class Unpriced:
    model: str
    """As it answered, else as it was asked for."""
    count: int
    """Exchanges, and usages of message batches."""
    since: datetime
    last: datetime
    input_tokens: int
    """With those of the cache."""
    output_tokens: int
    has_price: bool
    """The model itself has one: fast mode, an advisor or a fallback has none, or it waits to be repriced."""

    def __add__(self, other: "Unpriced") -> "Unpriced":
        return Unpriced(
            self.model,
            self.count + other.count,
            min(self.since, other.since),
            max(self.last, other.last),
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.has_price,
        )


def unpriced_models() -> list[Unpriced]:
    """The most used first; of the newest `LOOKED_AT_MAX` exchanges."""
    found: dict[str, Unpriced] = {}
    price_list, now = prices.load(), timezone.now()
    for row in (*_of_exchanges(), *_of_batches()):
        one = Unpriced(
            model=row["named"],
            count=row["count"],
            since=row["first"],
            last=row["last"],
            input_tokens=sum(row[f"sum_{name}"] for name in _TOKENS if name != "output_tokens"),
            output_tokens=row["sum_output_tokens"],
            has_price=price_list.price(row["named"], now) is not None,
        )
        found[one.model] = found[one.model] + one if one.model in found else one
    return sorted(found.values(), key=lambda one: (-one.count, one.model))[:MODELS_MAX]


def _of_exchanges() -> Iterable[dict[str, Any]]:
    newest = ExchangeRow.objects.filter(pricing=Pricing.UNPRICED).order_by("-id").values("id")[:LOOKED_AT_MAX]
    named = Coalesce(NullIf("answered_model", Value("")), "model")
    return _summed(ExchangeRow.objects.filter(id__in=newest).annotate(named=named), "started_at")


def _of_batches() -> Iterable[dict[str, Any]]:
    newest = BatchUsageRow.objects.filter(pricing=Pricing.UNPRICED).order_by("-id").values("id")[:LOOKED_AT_MAX]
    return _summed(BatchUsageRow.objects.filter(id__in=newest).annotate(named=F("model")), "batch__created_at")


def _summed(rows: Any, moment: str) -> Iterable[dict[str, Any]]:
    sums = {f"sum_{name}": Sum(name) for name in _TOKENS}
    grouped = rows.order_by().values("named")
    return grouped.annotate(count=Count("id"), first=Min(moment), last=Max(moment), **sums)  # type: ignore[no-any-return]
