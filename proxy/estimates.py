"""What a request may use, told from what can be seen of it before it is sent."""

from datetime import UTC, datetime

from proxy.wire import Ask
from telemetry.limits.meters import as_units
from telemetry.money.ceiling import CONTEXT_MAX_TOKENS, OUTPUT_MAX_TOKENS, ceiling
from telemetry.money.pricing import PriceList

BYTES_PER_TOKEN = 4
"""Of English text, about: for rates, where what was really used is settled soon."""
ELSEWHERE = (b'"file_id"', b'"url"', b'"container"', b'"mcp_servers"', b'"web_search_', b'"web_fetch_')
"""Where these are in a body, the API may read more than was sent."""


class Estimate:
    """What it costs at most is worked out only when it is asked for: for keys that have a budget."""

    __slots__ = ("_ask", "_body", "_cost_units", "_prices", "input_tokens")

    def __init__(self, ask: Ask, body: bytes, prices: PriceList) -> None:
        self.input_tokens = min(len(body) // BYTES_PER_TOKEN, CONTEXT_MAX_TOKENS)
        """What the prompt probably is."""
        self._ask = ask
        self._body = body
        self._prices = prices
        self._cost_units: int | None = None

    @property
    def cost_units(self) -> int:
        """What it costs at most, in units of 1e-10 USD (`telemetry.limits.meters`); but for what the API's own tools
        cost, which may have it read the prompt many times."""
        if self._cost_units is None:
            self._cost_units = most(self._ask, self._body, self._prices)
        return self._cost_units


class NoEstimate(Estimate):
    """Of what is not billed, or of which nothing can be told."""

    __slots__ = ()

    def __init__(self, cost_units: int = 0) -> None:
        self.input_tokens = 0
        self._cost_units = cost_units


NOTHING = NoEstimate()


def most(ask: Ask, body: bytes, prices: PriceList) -> int:
    """In units of 1e-10 USD. A token is at least a byte of what was sent."""
    now = datetime.now(UTC)
    price = prices.price(ask.model, now) or prices.dearest(ask.model, now)
    if price is None:
        return 0
    tokens = CONTEXT_MAX_TOKENS if any(mark in body for mark in ELSEWHERE) else min(len(body), CONTEXT_MAX_TOKENS)
    is_fast, is_us = b'"speed"' in body, b'"inference_geo"' in body
    return as_units(ceiling(price, tokens, min(ask.max_tokens, OUTPUT_MAX_TOKENS), is_fast=is_fast, is_us=is_us))
