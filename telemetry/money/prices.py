"""The prices of the database as the hot path holds them: a frozen list per process, replaced whole when one changes."""

from decimal import Decimal

from telemetry.models import PriceRow
from telemetry.money.pricing import Price, PriceList, Rates

_RATES = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")


def load() -> PriceList:
    """Reads them all: there are some dozens."""
    return PriceList(as_price(row) for row in PriceRow.objects.order_by("id"))


def as_price(row: PriceRow) -> Price:
    usual: list[Decimal] = [getattr(row, name) for name in _RATES]
    long: list[Decimal | None] = [getattr(row, f"long_{name}") for name in _RATES]
    return Price(
        id=row.id,
        pattern=row.pattern,
        valid_from=row.valid_from,
        rates=Rates(*usual),
        long_rates=_long(long, usual),
        long_above_tokens=row.long_above_tokens,
        batch_factor=row.batch_factor,
        fast_factor=row.fast_factor,
        us_factor=row.us_factor,
        web_search_per_thousand=row.web_search_per_thousand,
    )


def _long(long: list[Decimal | None], usual: list[Decimal]) -> Rates | None:
    """A rate that is not said is the usual one."""
    if all(rate is None for rate in long):
        return None
    return Rates(*(plain if rate is None else rate for rate, plain in zip(long, usual, strict=True)))
