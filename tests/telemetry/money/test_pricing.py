"""Worked examples: what an answer costs, reckoned by hand from the price list, one or more for each rule of billing
(facts/claude-api.md 4.14 and 6), and the price list itself."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.ids import new_id
from telemetry.money.charges import Charge, Terms, added_up, charges_of
from telemetry.money.pricing import FREE, REMEMBERED_MODELS, UNPRICED, Price, PriceList, Rates, matches
from telemetry.record.exchange import Pricing
from tests.telemetry.money.answers import answered

NOW = datetime(2026, 11, 1, tzinfo=UTC)
MILLION = 1_000_000
OPUS, SONNET, HAIKU, FABLE = "claude-opus-5", "claude-sonnet-5", "claude-haiku-4-5-20251001", "claude-fable-5"


def iteration(kind: str, fresh: int, output: int, model: str | None = None, **more: Any) -> dict[str, Any]:
    named = {} if model is None else {"model": model}
    return {"type": kind, "input_tokens": fresh, "output_tokens": output} | named | more


def tokens(fresh: int, output: int, **more: Any) -> dict[str, Any]:
    return {"input_tokens": fresh, "output_tokens": output} | more


def split(write_5m: int, write_1h: int) -> dict[str, Any]:
    return {"ephemeral_5m_input_tokens": write_5m, "ephemeral_1h_input_tokens": write_1h}


DECLINED_THEN_SERVED = [iteration("message", 535, 0, FABLE), iteration("fallback_message", 412, 264, "claude-opus-4-8")]
CACHED = {"cache_creation_input_tokens": 700, "cache_creation": split(300, 400), "cache_read_input_tokens": 10_000}
SEARCHED = {"server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 9}}

Example = tuple[str, dict[str, Any], str, str, dict[str, Any]]
WORKED: list[Example] = [
    # a) Plain tokens.
    ("input and output", tokens(1000, 100), OPUS, "0.0075", {}),  # 1000 * 5 + 100 * 25 = 7500 millionths
    ("one token of input", tokens(1, 0), OPUS, "0.000005", {}),
    ("the cheapest token there is", tokens(0, 0, cache_read_input_tokens=1), "claude-haiku-5-5", "0.00000001", {}),
    ("an alias", tokens(1000, 100), "claude-haiku-4-5", "0.0015", {}),  # 1000 * 1 + 100 * 5
    ("thoughts are output", tokens(10, 500, output_tokens_details={"thinking_tokens": 400}), SONNET, "0.00502", {}),
    ("the newest models", tokens(1000, 100), "claude-opus-5-5", "0.006", {}),  # 1000 * 4 + 100 * 20
    # a) The cache.
    ("a write for 5 minutes", tokens(0, 0, cache_creation_input_tokens=1000, cache_creation=split(1000, 0)), OPUS,
     "0.00625", {}),
    ("a write for 1 hour", tokens(0, 0, cache_creation_input_tokens=1000, cache_creation=split(0, 1000)), OPUS,
     "0.01", {}),
    ("a read", tokens(0, 0, cache_read_input_tokens=1000), OPUS, "0.0005", {}),
    ("a read at a fortieth of input", tokens(0, 0, cache_read_input_tokens=1000), "claude-fable-5-1", "0.00025", {}),
    # 50 * 5 + 300 * 6.25 + 400 * 10 + 10000 * 0.5 + 20 * 25 = 250 + 1875 + 4000 + 5000 + 500
    ("all five kinds", tokens(50, 20, **CACHED), OPUS, "0.011625", {}),
    # g) 1000 written, 400 of them split: 400 * 10 + 600 * 6.25
    ("what is not split is for 5 minutes", tokens(0, 0, cache_creation_input_tokens=1000, cache_creation=split(0, 400)),
     OPUS, "0.00775", {}),
    ("a write without a split", tokens(0, 0, cache_creation_input_tokens=1000), OPUS, "0.00625", {}),
    # a) Web searches.
    ("web searches", tokens(1000, 100, **SEARCHED), OPUS, "0.0375", {}),  # 0.0075 + 3 * 0.01; fetches are free
    ("searches cost no more in fast mode", tokens(1000, 100, speed="fast", **SEARCHED), OPUS, "0.045", {}),
    # b) Compaction: 180000 * 5 + 3500 * 25 + 23000 * 5 + 1000 * 25 = 900000 + 87500 + 115000 + 25000
    ("a compaction is added", tokens(23_000, 1000, iterations=[
        iteration("compaction", 180_000, 3500), iteration("message", 23_000, 1000)]), OPUS, "1.1275", {}),
    ("a compaction alone", tokens(0, 0, iterations=[iteration("compaction", 1000, 100)]), OPUS, "0.0075", {}),
    # c) Advisor: 1000 * 2 + 100 * 10, 2000 * 5 + 200 * 25, 300 * 2 + 50 * 10 = 3000 + 15000 + 1100
    ("an advisor at its own model's price", tokens(1300, 150, iterations=[
        iteration("message", 1000, 100), iteration("advisor_message", 2000, 200, OPUS),
        iteration("message", 300, 50)]), SONNET, "0.0191", {}),
    # An advisor has no fast mode of its own: (1000 * 5 + 100 * 25) * 2 + 2000 * 10 + 200 * 50
    ("an advisor beside fast mode", tokens(1000, 100, speed="fast", iterations=[
        iteration("message", 1000, 100), iteration("advisor_message", 2000, 200, FABLE)]), OPUS, "0.045", {}),
    # d) Fallback: the first declined before any output: 412 * 5 + 264 * 25
    ("a declined attempt is free", tokens(412, 264, iterations=DECLINED_THEN_SERVED), "claude-opus-4-8",
     "0.00866", {"model": FABLE, "refusals": "cyber"}),
    # … but not in a billed category: + 535 * 10
    ("a declined attempt that is billed", tokens(412, 264, iterations=DECLINED_THEN_SERVED), "claude-opus-4-8",
     "0.01401", {"model": FABLE, "refusals": "bio"}),
    # 500 * 10 + 40 * 50 + 412 * 5 + 264 * 25
    ("an attempt that had said something", tokens(412, 264, iterations=[
        iteration("message", 500, 40, FABLE), iteration("fallback_message", 412, 264, "claude-opus-4-8")]),
     "claude-opus-4-8", "0.01566", {"model": FABLE, "refusals": "cyber"}),
    # The unnamed attempt is that of the model that was asked for, not of the one that answered.
    ("an attempt without a model", tokens(412, 264, iterations=[
        iteration("message", 500, 40), iteration("fallback_message", 412, 264)]),
     "claude-opus-4-8", "0.01566", {"model": FABLE, "refusals": "cyber"}),
    ("all of a chain declined", tokens(412, 0, iterations=[
        iteration("message", 535, 0, FABLE), iteration("fallback_message", 412, 0, OPUS)]), OPUS, "0",
     {"model": FABLE, "refusals": "cyber,-", "is_declined": True}),
    # The second declined with nothing of its own after the first had spoken: 500 * 10 + 40 * 50
    ("the last of a chain declined", tokens(412, 0, iterations=[
        iteration("message", 500, 40, FABLE), iteration("fallback_message", 412, 0, OPUS)]), OPUS, "0.007",
     {"model": FABLE, "refusals": "cyber,cyber"}),
    # Turns of a loop of server tools, by one model: (1000 + 1200) * 10 + (30 + 70) * 50
    ("a loop of tools", tokens(2200, 100, iterations=[
        iteration("message", 1000, 30, FABLE), iteration("message", 1200, 70, FABLE)]), FABLE, "0.027", {}),
    ("an answer of no tokens is not declined", tokens(1000, 0, iterations=[iteration("message", 1000, 0)]), OPUS,
     "0.005", {}),
    # 100 * 5 + 60 * 6.25 + 40 * 10 + 1000 * 0.5
    ("an iteration's own cache", tokens(100, 0, iterations=[iteration(
        "message", 100, 0, cache_creation_input_tokens=100, cache_creation=split(20, 40),
        cache_read_input_tokens=1000)]), OPUS, "0.001775", {}),
    ("searches beside iterations", tokens(1000, 100, iterations=[iteration("message", 1000, 100)], **SEARCHED), OPUS,
     "0.0375", {}),
    # e) Refusals.
    ("refused before any output", tokens(412, 0), FABLE, "0", {"is_declined": True, "refusals": "cyber"}),
    ("refused before any output, though counts are shown", tokens(412, 9), FABLE, "0",
     {"is_declined": True, "refusals": "-"}),
    ("refused before any output, with iterations", tokens(28, 6, iterations=[iteration("message", 28, 6)]), FABLE, "0",
     {"is_declined": True, "refusals": "general_harms"}),
    ("refused in a billed category", tokens(412, 0), FABLE, "0.00412", {"is_declined": True, "refusals": "bio"}),
    ("refused in a billed category, with iterations", tokens(412, 0, iterations=[iteration("message", 412, 0)]), FABLE,
     "0.00412", {"is_declined": True, "refusals": "reasoning_extraction"}),
    ("refused in mid-stream", tokens(28, 106), FABLE, "0.00558", {"refusals": "cyber"}),  # 28 * 10 + 106 * 50
    ("refused in mid-stream, with iterations", tokens(28, 106, iterations=[iteration("message", 28, 106)]), FABLE,
     "0.00558", {"refusals": "cyber"}),
    # h) Factors.
    ("fast mode", tokens(1000, 100, speed="fast"), OPUS, "0.015", {}),
    ("standard speed, whatever was asked for", tokens(1000, 100, speed="standard"), "claude-opus-4-6", "0.0075", {}),
    ("inference in the US", tokens(1000, 100, inference_geo="us"), OPUS, "0.00825", {}),
    ("inference elsewhere", tokens(1000, 100, inference_geo="global"), OPUS, "0.0075", {}),
    ("inference in the US, of an older model", tokens(1000, 100, inference_geo="us"), HAIKU, "0.0015", {}),
    ("a batch", tokens(1000, 100, service_tier="batch"), OPUS, "0.00375", {}),
    ("a batch with its cache", tokens(50, 20, service_tier="batch", **CACHED), OPUS, "0.0058125", {}),
    ("fast in the US with its cache", tokens(50, 20, speed="fast", inference_geo="us", **CACHED), OPUS, "0.025575", {}),
    ("a batch in the US", tokens(1000, 100, service_tier="batch", inference_geo="us"), OPUS, "0.004125", {}),
    ("priority costs what standard does", tokens(1000, 100, service_tier="priority"), OPUS, "0.0075", {}),
    # Longer prompts (facts 6.4).
    ("a prompt at the step", tokens(200_000, 0), "claude-sonnet-4-5-20250929", "0.6", {}),
    ("a prompt above the step", tokens(200_001, 1000), "claude-sonnet-4-5-20250929", "1.222506", {}),
    # 100000 * 6 + 100000 * 0.6 + 1 * 7.5
    ("the cache is part of the prompt", tokens(100_000, 0, cache_read_input_tokens=100_000,
     cache_creation_input_tokens=1), "claude-sonnet-4-5-20250929", "0.6600075", {}),
    ("a million tokens at the usual price", tokens(900_000, 0), "claude-opus-4-6", "4.5", {}),
    ("a step of its own", tokens(100_001, 1000), "claude-haiku-5-5", "0.0525005", {}),
    ("below a step of its own", tokens(100_000, 1000), "claude-haiku-5-5", "0.0105", {}),
    ("each iteration has its own prompt", tokens(150_000, 0, iterations=[
        iteration("message", 75_000, 0), iteration("message", 75_000, 0)]), "claude-haiku-5-5", "0.015", {}),
]  # fmt: skip


@pytest.mark.parametrize(("usage", "model", "usd", "changes"), [pytest.param(*rest, id=name) for name, *rest in WORKED])
def test_a_worked_example(
    seeded: PriceList, usage: dict[str, Any], model: str, usd: str, changes: dict[str, Any]
) -> None:
    cost = seeded.cost(charges_of(answered(usage, model, **changes)), NOW)
    assert cost.amount == Decimal(usd)
    assert (cost.pricing is Pricing.FREE) == (cost.amount == 0)
    assert bool(cost.price_ids) == bool(cost.amount)


UNKNOWN: list[tuple[str, dict[str, Any], str]] = [
    ("a model that nobody knows", tokens(1000, 100), "claude-nope-9"),
    ("no model at all", tokens(1000, 100), ""),
    ("fast mode of a model that has none", tokens(1000, 100, speed="fast"), "claude-opus-4-7"),
    ("an advisor that nobody knows", tokens(1, 1, iterations=[
        iteration("message", 1, 1), iteration("advisor_message", 1, 1, "claude-nope-9")]), OPUS),
]  # fmt: skip


@pytest.mark.parametrize(("usage", "model"), [pytest.param(*rest, id=name) for name, *rest in UNKNOWN])
def test_what_has_no_price_is_unpriced_and_not_free(seeded: PriceList, usage: dict[str, Any], model: str) -> None:
    assert seeded.cost(charges_of(answered(usage, model)), NOW) == UNPRICED


def test_nothing_used_is_free_also_of_a_model_that_nobody_knows(seeded: PriceList) -> None:
    assert seeded.cost(charges_of(answered(tokens(0, 0), "claude-nope-9")), NOW) == FREE


# The list.


def price(pattern: str, usd: int, since: datetime = NOW, **more: Any) -> Price:
    rates = Rates(*[Decimal(usd)] * 5)
    return Price(id=new_id(), pattern=pattern, valid_from=since, rates=rates, **more)


def charge(model: str, count: int = MILLION) -> Charge:
    return Charge(terms=Terms(model=model), input_tokens=count)


def test_a_price_counts_from_its_moment_on() -> None:
    old, new = price("m", 1, NOW - timedelta(days=9)), price("m", 2, NOW)
    for prices in (PriceList([old, new]), PriceList([new, old])):
        assert prices.price("m", NOW) is new
        assert prices.price("m", NOW - timedelta(microseconds=1)) is old
        assert prices.price("m", NOW - timedelta(days=10)) is None
        assert prices.cost([charge("m")], NOW - timedelta(days=10)) == UNPRICED


def test_the_most_exact_pattern_counts_even_where_another_is_newer() -> None:
    everything, family, exact = price("*", 1), price("claude-*", 2), price("claude-opus-5", 3, NOW - timedelta(days=9))
    prices = PriceList([everything, exact, family])
    assert [prices.price(model, NOW) for model in ("claude-opus-5", "claude-opus-5-1", "gpt")] == [
        exact,
        family,
        everything,
    ]


def test_a_pattern_that_has_not_begun_gives_way_to_a_wider_one() -> None:
    family, exact = price("claude-*", 2, NOW - timedelta(days=9)), price("claude-opus-5", 3, NOW)
    assert PriceList([family, exact]).price("claude-opus-5", NOW - timedelta(days=1)) is family


@pytest.mark.parametrize(
    ("pattern", "model", "fits"),
    [
        ("claude-opus-5", "claude-opus-5", True),
        ("claude-opus-5", "claude-opus-5-5", False),
        ("claude-opus-5", "Claude-opus-5", False),
        ("claude-opus.5", "claude-opus-5", False),
        ("claude-*", "claude-", True),
        ("*", "", True),
        ("", "", True),
        ("", "m", False),
        ("*-5", "claude-opus-5", True),
        ("claude-*-5", "claude-5", False),
        ("claude-*-5", "claude--5", True),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("a*a", "a", False),
        ("*ab*ab*", "abab", True),
        ("*ab*ab*", "aba", False),
        ("**", "x", True),
    ],
)
def test_which_models_a_pattern_means(pattern: str, model: str, fits: bool) -> None:
    assert matches(pattern, model) is fits


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_a_pattern_is_tried_like_every_way_to_fill_its_stars(pattern: str, model: str) -> None:
    def fits(pattern: str, model: str) -> bool:
        if not pattern:
            return not model
        if pattern[0] == "*":
            return any(fits(pattern[1:], model[start:]) for start in range(len(model) + 1))
        return model[:1] == pattern[0] and fits(pattern[1:], model[1:])

    assert matches(pattern, model) == fits(pattern, model)


def test_no_pattern_takes_long() -> None:
    started = perf_counter()
    assert not matches("*a" * 100, "a" * 99 + "b" * 101)
    assert perf_counter() - started < 0.1


def test_only_so_many_models_are_remembered() -> None:
    prices = PriceList([price("*", 1)])
    for number in range(REMEMBERED_MODELS * 2 + 5):
        assert prices.price(f"claude-{number}", NOW)
    assert len(prices._found) == 5


def test_all_prices_that_were_used_are_named_once() -> None:
    first, second = price("a", 1), price("b", 2)
    cost = PriceList([first, second]).cost([charge("b"), charge("a"), charge("b")], NOW)
    assert cost.price_ids == (second.id, first.id)
    assert cost.ids == f"{second.id},{first.id}"
    assert cost.amount == 5


def test_a_rate_of_nothing_is_priced() -> None:
    cost = PriceList([price("m", 0)]).cost([charge("m")], NOW)
    assert (cost.pricing, cost.amount) == (Pricing.PRICED, Decimal(0))


def test_what_fits_no_column_is_unpriced() -> None:
    """A column of costs holds 10 digits before the point; no real answer comes near."""
    assert PriceList([price("m", 99_999_999)]).cost([charge("m", 2**31 - 1)] * 1000, NOW) == UNPRICED


# Against a second calculation.

COUNT = st.integers(0, 3_000_000)
ENTRY = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["message", "compaction", "advisor_message"]),
        "input_tokens": COUNT,
        "output_tokens": COUNT,
        "cache_read_input_tokens": COUNT,
        "w5": COUNT,
        "w1": COUNT,
        "unsplit": st.integers(0, 1000),
    }
)
PER_MILLION = {  # as the price list has them, in hundredths of a cent a million: input, 5 m, 1 h, read, output
    "claude-opus-4-8": (50_000, 62_500, 100_000, 5_000, 250_000),
    "claude-sonnet-4-6": (30_000, 37_500, 60_000, 3_000, 150_000),
    "claude-haiku-5-5": (1_000, 1_250, 2_000, 100, 5_000),
}
ABOVE_100K = (5_000, 6_250, 10_000, 500, 25_000)


def in_dollars(entry: dict[str, Any], model: str, fast: bool, us: bool, batch: bool) -> Fraction:
    prompt = sum(entry[name] for name in ("input_tokens", "cache_read_input_tokens", "w5", "w1", "unsplit"))
    rates = ABOVE_100K if model == "claude-haiku-5-5" and prompt > 100_000 else PER_MILLION[model]
    counts = (
        entry["input_tokens"],
        entry["w5"] + entry["unsplit"],
        entry["w1"],
        entry["cache_read_input_tokens"],
        entry["output_tokens"],
    )
    sum_ = Fraction(sum(rate * count for rate, count in zip(rates, counts, strict=True)), 10_000 * MILLION)
    if fast and entry["type"] != "advisor_message":
        sum_ *= 2
    return sum_ * (Fraction(11, 10) if us else 1) / (2 if batch else 1)


def reported(entry: dict[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in entry.items() if name not in ("w5", "w1", "unsplit")}
    return own | {
        "cache_creation_input_tokens": entry["w5"] + entry["w1"] + entry["unsplit"],
        "cache_creation": split(entry["w5"], entry["w1"]),
    }


@given(
    entries=st.lists(ENTRY, min_size=1, max_size=4),
    has_iterations=st.booleans(),
    model=st.sampled_from(sorted(PER_MILLION)),
    speed=st.sampled_from(["fast", "standard", None]),
    geo=st.sampled_from(["us", "global"]),
    tier=st.sampled_from(["batch", "standard", "priority"]),
    searches=st.integers(0, 50),
)
def test_it_costs_what_a_second_calculation_says(
    entries: list[dict[str, Any]],
    has_iterations: bool,
    model: str,
    speed: str | None,
    geo: str,
    tier: str,
    searches: int,
) -> None:
    fast = speed == "fast" and model == "claude-opus-4-8"
    usage = reported(entries[-1]) | {"inference_geo": geo, "service_tier": tier}
    usage |= {"speed": "fast" if fast else "standard", "server_tool_use": {"web_search_requests": searches}}
    if has_iterations:
        usage["iterations"] = [reported(entry) for entry in entries]
    elif entries[-1]["type"] == "advisor_message":
        entries[-1]["type"] = "message"
    billed = entries if has_iterations else entries[-1:]
    expected = sum(in_dollars(entry, model, fast, geo == "us", tier == "batch") for entry in billed)
    if has_iterations and all(entry["type"] != "message" for entry in entries):
        counted = entries[-1] | {"type": "message"}  # no call is the answer's own: the top level tells of it
        expected += in_dollars(counted, model, fast, geo == "us", tier == "batch")
    expected += Fraction(searches, 100)
    cost = LIST.cost(charges_of(answered(usage, model)), NOW)
    assert cost.amount is not None
    assert abs(Fraction(cost.amount) - expected) <= Fraction(1, 2 * 10**10)
    again = LIST.cost(added_up(charges_of(answered(usage, model))), NOW)
    assert again.amount == cost.amount


def _listed(model: str) -> Price:
    fresh, write_5m, write_1h, read, output = (Decimal(rate) / 10_000 for rate in PER_MILLION[model])
    long = [Decimal(rate) / 10_000 for rate in ABOVE_100K]
    return Price(
        id=new_id(),
        pattern=model,
        valid_from=NOW,
        rates=Rates(input=fresh, output=output, cache_read=read, cache_write_5m=write_5m, cache_write_1h=write_1h),
        long_rates=Rates(
            input=long[0], cache_write_5m=long[1], cache_write_1h=long[2], cache_read=long[3], output=long[4]
        )
        if model == "claude-haiku-5-5"
        else None,
        long_above_tokens=100_000,
        fast_factor=Decimal(2),
        us_factor=Decimal("1.1"),
    )


LIST = PriceList(map(_listed, PER_MILLION))
