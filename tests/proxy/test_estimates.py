"""What a request costs at most, against what it costs in the end."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import wire
from proxy.estimates import Estimate, most
from telemetry.limits.meters import as_units
from telemetry.money.ceiling import CONTEXT_MAX_TOKENS, OUTPUT_MAX_TOKENS
from telemetry.money.charges import Charge, Terms, step_of
from telemetry.money.pricing import PriceList
from telemetry.record.exchange import Kind
from tests.telemetry.money.seeds import seeded_prices


@pytest.fixture(scope="module")
def price_list() -> PriceList:
    return seeded_prices()


def body(model: str, text: str, **fields: object) -> bytes:
    asked = {"model": model, "max_tokens": 1000, "messages": [{"role": "user", "content": text}], **fields}
    return json.dumps(asked).encode()


def estimated(raw: bytes, price_list: PriceList) -> int:
    return most(wire.read(raw, Kind.INFERENCE), raw, price_list)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_request_costs_more_than_it_was_estimated(price_list: PriceList, data: st.DataObject) -> None:
    """Whatever its price, however its prompt is split over the cache, in fast mode and in the US."""
    now = datetime.now(UTC)
    model = data.draw(st.sampled_from([price.pattern for price in price_list.current(now)] + ["claude-saga-9"]))
    raw = body(model, "x" * data.draw(st.sampled_from([1, 1000, 120_000, 250_000])), speed="fast", inference_geo="us")
    tokens = data.draw(st.integers(0, len(raw)))
    shares = data.draw(st.lists(st.integers(0, 10), min_size=4, max_size=4))
    parts = [tokens * share // (sum(shares) or 1) for share in shares]
    charge = Charge(
        terms=Terms(model=model, is_fast=data.draw(st.booleans()), is_us=True, prompt_over=step_of(sum(parts))),
        input_tokens=parts[0],
        cache_read_tokens=parts[1],
        cache_write_5m_tokens=parts[2],
        cache_write_1h_tokens=parts[3],
        output_tokens=data.draw(st.integers(0, 1000)),
    )
    cost = price_list.cost([charge], now)
    if cost.amount is not None:
        assert as_units(cost.amount) <= estimated(raw, price_list)


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}],
        [{"type": "document", "source": {"type": "file", "file_id": "file_fake"}}],
    ],
)
def test_what_is_referred_to_may_be_as_long_as_any_prompt(price_list: PriceList, content: object) -> None:
    raw = body("claude-opus-5", "", messages=[{"role": "user", "content": content}])
    # 1 h write: 10 USD a million.
    assert estimated(raw, price_list) >= 10 * 10**10


def test_a_request_that_says_nothing_of_its_length_may_answer_at_any(price_list: PriceList) -> None:
    raw = body("claude-opus-5", "", max_tokens=1e5)
    assert estimated(raw, price_list) >= 25 * 10**10 * OUTPUT_MAX_TOKENS // CONTEXT_MAX_TOKENS


def test_it_is_worked_out_once_and_only_when_asked_for(price_list: PriceList) -> None:
    raw = body("claude-opus-5", "Hello" * 100)
    estimate = Estimate(wire.read(raw, Kind.INFERENCE), raw, price_list)
    assert estimate.input_tokens == len(raw) // 4
    assert estimate.cost_units == estimate.cost_units == estimated(raw, price_list)
