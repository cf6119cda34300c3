"""What a request may use, told from what can be seen of it cheaply before it is sent."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from proxy.wire import Ask
from telemetry.limits.meters import as_units
from telemetry.money.pricing import PriceList

BYTES_PER_TOKEN = 4
"""Of English text, about: for rates, where what was really used is settled soon."""
CONTEXT_MAX_TOKENS = 1_000_000
"""No model reads more (facts/claude-api.md 6.4)."""


class Estimate(msgspec.Struct, frozen=True):
    input_tokens: int = 0
    """What it probably is."""
    cost_units: int = 0
    """What it costs at most, in units of 1e-10 USD (`telemetry.limits.meters`)."""


NOTHING = Estimate()


def estimate(ask: Ask, body_bytes: int, prices: PriceList) -> Estimate:
    """A token is at least a byte; and the dearest way to send one is to write it into the cache for an hour."""
    input_tokens = min(body_bytes // BYTES_PER_TOKEN, CONTEXT_MAX_TOKENS)
    price = prices.price(ask.model, datetime.now(UTC))
    if price is None:
        return Estimate(input_tokens)
    rates = price.rates
    most = rates.cache_write_1h * min(body_bytes, CONTEXT_MAX_TOKENS) + rates.output * ask.max_tokens
    return Estimate(input_tokens, as_units(most / Decimal(1_000_000)))
