"""What charges cost. Prices are dated; no Django here: facts in, facts out."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import NamedTuple
from uuid import UUID

import msgspec

from telemetry.money.charges import PROMPT_STEPS, Charge
from telemetry.money.families import family_of
from telemetry.record.exchange import Pricing

PLACES = Decimal("1e-10")
_PRECISE = Context(prec=50, rounding=ROUND_HALF_EVEN)
REMEMBERED_MODELS = 1000
"""Names of models come from outside: no more of them are remembered at once."""
COST_LIMIT = Decimal(10) ** 7
"""USD, more than the largest message batch can cost: rather a slip in a price. Sums are made in units of 1e-10 USD, and
those of some dozens have to fit 64 bits."""
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
    """Of longer prompts, where they differ."""
    long_above_tokens: int = PROMPT_STEPS[0]
    """What a longer prompt is: one of `PROMPT_STEPS`."""
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
        self._found: dict[str, tuple[Price, ...]] = {}

    def price(self, model: str, at: datetime) -> Price | None:
        """Of the most exact pattern that has one by then."""
        prices = self._found.get(model)
        if prices is None:
            if len(self._found) >= REMEMBERED_MODELS:
                self._found.clear()
            prices = tuple(price for price in self._prices if matches(price.pattern, model))
            self._found[model] = prices
        for price in prices:
            if price.valid_from <= at:
                return price
        return None

    def dearest(self, model: str, at: datetime) -> Price | None:
        """Of the models of its family, or of all where none of its family has a price. None: there are no prices."""
        family = family_of(model)
        current = self.current(at)
        of_family = [price for price in current if family and family_of(price.pattern) == family]
        # By what an answer costs, since that is most of what is paid.
        return max(of_family or current, key=lambda price: (price.rates.output, price.rates.input), default=None)

    def current(self, at: datetime) -> list[Price]:
        """Of each pattern the one that counts then."""
        found: dict[str, Price] = {}
        for price in self._prices:  # the newest of a pattern comes first
            if price.valid_from <= at:
                found.setdefault(price.pattern, price)
        return list(found.values())

    def assumed(self, charges: Sequence[Charge], at: datetime) -> Decimal | None:
        """What charges cost in USD, to 10 places, where some have no price: those at the dearest known one of their
        family. None: there are no prices at all."""
        total = Decimal(0)
        for charge in charges:
            amount = self._assumed(charge, at)
            if amount is None:
                return None
            total = _PRECISE.add(total, amount)
        return min(total.quantize(PLACES, context=_PRECISE), COST_LIMIT)

    def _assumed(self, charge: Charge, at: datetime) -> Decimal | None:
        price = self.price(charge.terms.model, at)
        if price is not None and (amount := _amount(charge, price)) is not None:
            return amount
        price = price or self.dearest(charge.terms.model, at)
        if price is None:
            return None
        if charge.terms.is_fast and price.fast_factor is None:
            known = [each.fast_factor for each in self._prices if each.fast_factor is not None]
            price = msgspec.structs.replace(price, fast_factor=max(known, default=ONE))
        return _amount(charge, price)

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
        cost = total.quantize(PLACES, context=_PRECISE)
        return Cost(Pricing.PRICED, cost, tuple(ids)) if cost < COST_LIMIT else UNPRICED


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
    is_long = price.long_rates is not None and terms.prompt_over >= price.long_above_tokens
    rates = price.long_rates if is_long and price.long_rates is not None else price.rates
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


def matches(pattern: str, model: str) -> bool:
    """Whether a model is meant by a pattern; in time that grows with their lengths alone, whatever the pattern."""
    first, *others = pattern.split("*")
    if not others:
        return model == pattern
    *middle, last = others
    if not model.startswith(first):
        return False
    at = len(first)
    for part in middle:
        found = model.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(model) - len(last) >= at and model.endswith(last)


def _exactness(pattern: str) -> tuple[bool, int]:
    return "*" not in pattern, len(pattern.replace("*", ""))
