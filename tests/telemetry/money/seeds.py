"""The prices that an installation begins with, without a database."""

from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module

from accounts.ids import new_id
from telemetry.money.pricing import Price, PriceList, Rates

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def seeded_prices() -> PriceList:
    seeds = import_module("telemetry.migrations.0004_money")
    longer = {model: values for models, values in seeds.LONGER.items() for model in models}
    found = []
    for models, (fresh, write_5m, write_1h, read, output, fast, us) in seeds.SEEDS.items():
        for model in models:
            above, *long = longer.get(model, (200_000,))
            found.append(
                Price(
                    id=new_id(),
                    pattern=model,
                    valid_from=SINCE,
                    rates=_rates(fresh, output, read, write_5m, write_1h),
                    long_rates=_rates(long[0], long[4], long[3], long[1], long[2]) if long else None,
                    long_above_tokens=above,
                    fast_factor=fast and Decimal(fast),
                    us_factor=us and Decimal(us),
                )
            )
    return PriceList(found)


def _rates(*usd: str) -> Rates:
    return Rates(*map(Decimal, usd))
