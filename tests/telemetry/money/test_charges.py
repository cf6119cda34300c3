import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.meter import meter_json
from telemetry.money.charges import COUNTS, Charge, Terms, added_up, charges_of, models_of, step_of
from telemetry.money.reported import MODEL_LENGTH
from telemetry.record.usage import COUNT_MAX
from tests.telemetry.facts import exchange
from tests.telemetry.money.answers import answered

NOTHING = {name: 0 for name in exchange().__struct_fields__ if name.endswith(("_tokens", "_requests"))}
MODEL = "claude-opus-5"


def used(**changes: Any) -> list[Charge]:
    return charges_of(exchange(**NOTHING | {"usage": "", "answered_model": MODEL} | changes))


def test_nothing_used_is_nothing_billed() -> None:
    assert used() == []


def test_an_error_or_a_count_of_tokens_bills_nothing() -> None:
    for body in ({"type": "error", "error": {"type": "api_error", "message": "no"}}, {"input_tokens": 2095}):
        metered = meter_json(json.dumps(body).encode())
        assert used(usage=metered.usage.raw.decode(), input_tokens=metered.usage.input_tokens) == []


def test_the_model_that_answered_is_billed_and_without_one_the_one_that_was_asked() -> None:
    assert models_of(used(input_tokens=1, model="asked")) == [MODEL]
    assert models_of(used(input_tokens=1, model="asked", answered_model="")) == ["asked"]


# The client left early.


def test_an_estimate_bills_its_counters() -> None:
    (charge,) = used(usage_source="estimated", usage='{"input_tokens":10,"output_tokens":1}', output_tokens=7)
    assert charge == Charge(terms=Terms(model=MODEL), output_tokens=7)


def test_an_estimate_bills_what_was_beside_the_answer_and_takes_the_answer_from_the_counters() -> None:
    """`message_start` may tell of a compaction that is over; of the answer it has a placeholder (facts 4.10)."""
    iterations = [
        {"type": "compaction", "input_tokens": 900, "output_tokens": 50},
        {"type": "message", "input_tokens": 100, "output_tokens": 1},
    ]
    usage = json.dumps({"input_tokens": 100, "output_tokens": 1, "iterations": iterations})
    charges = used(usage_source="estimated", usage=usage, input_tokens=100, output_tokens=40)
    terms = Terms(model=MODEL)
    assert charges == [
        Charge(terms=terms, input_tokens=100, output_tokens=40),
        Charge(terms=terms, input_tokens=900, output_tokens=50),
    ]


def test_an_estimate_bills_the_attempts_before_the_one_at_work() -> None:
    iterations = [
        {"type": "message", "model": "a", "input_tokens": 1, "output_tokens": 2},
        {"type": "message", "model": "b", "input_tokens": 3, "output_tokens": 0},
        {"type": "fallback_message", "model": MODEL, "input_tokens": 5, "output_tokens": 1},
    ]
    usage = json.dumps({"input_tokens": 5, "output_tokens": 1, "iterations": iterations})
    charges = used(usage_source="estimated", usage=usage, input_tokens=5, output_tokens=9)
    assert charges == [
        Charge(terms=Terms(model="a"), input_tokens=1, output_tokens=2),
        Charge(terms=Terms(model=MODEL), input_tokens=5, output_tokens=9),
    ]


def test_what_was_drained_is_billed_like_any_last_word() -> None:
    usage = json.dumps({"iterations": [{"type": "message", "input_tokens": 3, "output_tokens": 4}]})
    (charge,) = used(usage_source="drained", usage=usage, input_tokens=1, output_tokens=1)
    assert (charge.input_tokens, charge.output_tokens) == (3, 4)


# What comes from outside.

HOSTILE = [
    "null",
    "[]",
    '"usage"',
    "{",
    '{"iterations": 3}',
    '{"iterations": [3]}',
    '{"iterations": [{"type": "message", "input_tokens": -1}]}',
    '{"iterations": [{"type": "message", "input_tokens": 1e400}]}',
    '{"iterations": [{"type": "message", "input_tokens": "9"}]}',
    f'{{"iterations": [{{"type": "message", "input_tokens": {COUNT_MAX + 1}}}]}}',
    '{"iterations": [{"type": "message", "model": 5}]}',
    f'{{"iterations": [{{"type": "message", "model": "{"x" * (MODEL_LENGTH + 1)}", "input_tokens": 1}}]}}',
    '{"iterations": [{"type": "message", "cache_creation": [1]}]}',
    '{"iterations": ' + "[" * 100_000,
    '{"speed": {"a": 1}, "iterations": null}',
    '{"speed": "\ud800"}'.encode("utf-8", "replace").decode(),
]


@pytest.mark.parametrize("usage", HOSTILE, ids=lambda usage: usage[:40])
def test_a_usage_that_cannot_be_read_is_billed_by_its_counters(usage: str) -> None:
    assert used(usage=usage, input_tokens=7) == [Charge(terms=Terms(model=MODEL), input_tokens=7)]


def test_a_part_that_cannot_be_read_costs_no_other() -> None:
    (charge,) = used(usage='{"speed":"fast","inference_geo":5,"service_tier":"batch"}', input_tokens=1)
    assert charge.terms == Terms(model=MODEL, is_fast=True, is_batch=True)


def test_nulls_and_what_nobody_knows_yet_are_read_past() -> None:
    entry = {"type": "a_new_kind", "input_tokens": None, "output_tokens": 4, "cache_creation": None, "new": [1]}
    odd = {"type": "message", "input_tokens": 1, "cache_creation": {"ephemeral_5m_input_tokens": None, "new": 1}}
    charges = used(usage=json.dumps({"iterations": [entry, odd], "new": {}}))
    assert [(charge.input_tokens, charge.output_tokens) for charge in charges] == [(1, 0), (0, 4)]


KEYS = st.sampled_from(
    ["iterations", "type", "model", "speed", "input_tokens", "output_tokens", "cache_creation", "message", "odd"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


@given(usage=JSON | st.text(), refusals=st.text(max_size=20), is_declined=st.booleans(), source=st.text(max_size=9))
def test_it_never_raises(usage: Any, refusals: str, is_declined: bool, source: str) -> None:
    raw = usage if isinstance(usage, str) else json.dumps(usage)
    for charge in used(
        usage=raw, refusals=refusals, is_declined=is_declined, usage_source=source, input_tokens=COUNT_MAX
    ):
        assert all(getattr(charge, name) >= 0 for name in COUNTS)


# Sums.


def test_charges_of_one_kind_add_up_and_others_do_not() -> None:
    slow, fast = Terms(model="a"), Terms(model="a", is_fast=True)
    charges = [
        Charge(terms=slow, input_tokens=1, web_searches=2),
        Charge(terms=fast, input_tokens=4),
        Charge(terms=slow, input_tokens=8, output_tokens=16),
    ]
    assert added_up(charges) == [
        Charge(terms=slow, input_tokens=9, output_tokens=16, web_searches=2),
        Charge(terms=fast, input_tokens=4),
    ]


@pytest.mark.parametrize(
    ("tokens", "step"), [(0, 0), (100_000, 0), (100_001, 100_000), (200_000, 100_000), (200_001, 200_000)]
)
def test_the_step_that_a_prompt_is_above(tokens: int, step: int) -> None:
    assert step_of(tokens) == step


def test_a_charge_survives_being_stored() -> None:
    charges = charges_of(answered({"input_tokens": 200_001, "output_tokens": 2, "speed": "fast"}, MODEL))
    assert msgspec.json.decode(msgspec.json.encode(charges), type=list[Charge]) == charges
