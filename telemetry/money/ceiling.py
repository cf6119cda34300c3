"""The most that one request can cost by a price. What its answer says later is never more."""

from collections.abc import Iterable
from decimal import Decimal

from telemetry.money.pricing import MILLION, ONE, Price, Rates

CONTEXT_MAX_TOKENS = 1_000_000
"""No model reads more (facts/claude-api.md 6.4)."""
OUTPUT_MAX_TOKENS = 128_000
"""No model answers with more (facts/claude-api.md 5.7)."""


def ceiling(
    price: Price, prompt_tokens: int, output_tokens: int, *, is_fast: bool = False, is_us: bool = False
) -> Decimal:
    """In USD. All of the prompt at the dearest of its rates, which is to write it into the cache for an hour; without
    what the API's own tools cost, which may read the prompt again and again."""
    rates = [price.rates]
    if price.long_rates is not None and prompt_tokens > price.long_above_tokens:
        rates.append(price.long_rates)
    amount = max(map(_input, rates)) * prompt_tokens + max(each.output for each in rates) * output_tokens
    if is_fast:
        amount *= price.fast_factor or ONE
    if is_us:
        amount *= price.us_factor or ONE
    return amount / MILLION


def highest(prices: Iterable[Price]) -> Decimal:
    """Of any request by any of these prices, in USD; 0 where there are none."""
    ceilings = (ceiling(price, CONTEXT_MAX_TOKENS, OUTPUT_MAX_TOKENS, is_fast=True, is_us=True) for price in prices)
    return max(ceilings, default=Decimal(0))


def _input(rates: Rates) -> Decimal:
    return max(rates.input, rates.cache_read, rates.cache_write_5m, rates.cache_write_1h)
