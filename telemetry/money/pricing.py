"""What charges cost. Prices are dated; no Django here: facts in, facts out."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import NamedTuple
from uuid import UUID

import msgspec

from telemetry.money.charges import Charge
from telemetry.record.exchange import Pricing

PLACES = Decimal("1e-10")
_PRECISE = Context(prec=50, rounding=ROUND_HALF_EVEN)
REMEMBERED_MODELS = 1000
"""Names of models come from outside: no more of them are remembered at once."""
ONE = Decimal(1)
MILLION, THOUSAND = Decimal(1_000_000), Decimal(1000)


class Rates(msgspec.Struct, frozen=True):
    """USD per million tokens."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What a model costs from a moment on."""

    id: UUID
    pattern: str
    """A model's id; `*` stands for any characters."""
    valid_from: datetime
    rates: Rates
    long_rates: Rates | None = None
    """Of prompts over `LONG_PROMPT_TOKENS`, where they differ."""
    batch_factor: Decimal = Decimal("0.5")
    fast_factor: Decimal | None = None
    """None: the model has no fast mode, so that its tokens in fast mode have no price."""
    us_factor: Decimal | None = None
    """None: as elsewhere."""
    web_search_per_thousand: Decimal = Decimal(10)


class Cost(NamedTuple):
    pricing: Pricing
    amount: Decimal | None
    """USD, to 10 places; None where any part has no price."""
    price_ids: tuple[UUID, ...] = ()

    @property
    def ids(self) -> str:
        """As they stand on a row."""
        return ",".join(map(str, self.price_ids))


FREE = Cost(Pricing.FREE, Decimal(0))
UNPRICED = Cost(Pricing.UNPRICED, None)


class PriceList:
    """The prices at hand, frozen. Replace it whole when prices change."""

    def __init__(self, prices: Iterable[Price] = ()) -> None:
        # The most exact pattern first, and of one pattern the newest.
        self._prices = sorted(prices, key=lambda price: (*_exactness(price.pattern), price.valid_from), reverse=True)
        self._patterns = [(_as_regex(price.pattern), price) for price in self._prices]
        self._found: dict[str, tuple[Price, ...]] = {}

    def price(self, model: str, at: datetime) -> Price | None:
        """Of the most exact pattern that has one by then."""
        prices = self._found.get(model)
        if prices is None:
            if len(self._found) >= REMEMBERED_MODELS:
                self._found.clear()
            prices = tuple(price for matches, price in self._patterns if matches.fullmatch(model))
            self._found[model] = prices
        for price in prices:
            if price.valid_from <= at:
                return price
        return None

    def cost(self, charges: Sequence[Charge], at: datetime) -> Cost:
        """Of all charges together."""
        if not charges:
            return FREE
        total, ids = Decimal(0), []
        for charge in charges:
            price = self.price(charge.terms.model, at)
            amount = None if price is None else _amount(charge, price)
            if price is None or amount is None:
                return UNPRICED
            total = _PRECISE.add(total, amount)
            if price.id not in ids:
                ids.append(price.id)
        return Cost(Pricing.PRICED, total.quantize(PLACES, context=_PRECISE), tuple(ids))


def _amount(charge: Charge, price: Price) -> Decimal | None:
    terms = charge.terms
    factor = ONE
    if terms.is_fast:
        if price.fast_factor is None:
            return None
        factor *= price.fast_factor
    if terms.is_us and price.us_factor is not None:
        factor *= price.us_factor
    if terms.is_batch:
        factor *= price.batch_factor
    rates = price.long_rates if terms.is_long and price.long_rates is not None else price.rates
    multiply, add = _PRECISE.multiply, _PRECISE.add
    tokens = multiply(rates.input, charge.input_tokens)
    tokens = add(tokens, multiply(rates.output, charge.output_tokens))
    tokens = add(tokens, multiply(rates.cache_read, charge.cache_read_tokens))
    tokens = add(tokens, multiply(rates.cache_write_5m, charge.cache_write_5m_tokens))
    tokens = add(tokens, multiply(rates.cache_write_1h, charge.cache_write_1h_tokens))
    tokens = _PRECISE.divide(multiply(tokens, factor), MILLION)
    if not charge.web_searches:
        return tokens
    searches = multiply(price.web_search_per_thousand, charge.web_searches)
    return add(tokens, _PRECISE.divide(searches, THOUSAND))


def _exactness(pattern: str) -> tuple[bool, int]:
    return "*" not in pattern, len(pattern.replace("*", ""))


def _as_regex(pattern: str) -> "re.Pattern[str]":
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
