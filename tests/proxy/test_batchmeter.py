import gc
import json
import time
import tracemalloc
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import batchmeter
from proxy.batchmeter import MAX_TERMS, BatchMeter, batch_of_results
from proxy.meter import meter_json
from telemetry.money.charges import Charge, Terms, added_up, charges_of
from telemetry.record.exchange import BatchResults
from telemetry.record.usage import UsageSource

HAIKU = "claude-haiku-4-5-20251001"
OPUS = "claude-opus-4-6"


def usage(**changes: Any) -> dict[str, Any]:
    return {
        "input_tokens": 12,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 5,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "output_tokens": 60,
        "service_tier": "batch",
        "inference_geo": "not_available",
    } | changes


def message(**changes: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": HAIKU,
        "content": [{"type": "text", "text": "Ü 🌊"}],
        "stop_reason": "end_turn",
        "usage": usage(),
    } | changes


def line(result: Any = None, **changes: Any) -> bytes:
    result = result or {"type": "succeeded", "message": message(**changes)}
    return json.dumps({"custom_id": "a", "result": result}, ensure_ascii=False).encode()


ERROR = {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}, "request_id": "req_1"}
ERRORED, CANCELED, EXPIRED = (
    line({"type": "errored", "error": ERROR}),
    line({"type": "canceled"}),
    line({"type": "expired"}),
)
SEARCHED = line(usage=usage(server_tool_use={"web_search_requests": 2, "web_fetch_requests": 1}))
FAST_IN_THE_US = line(model=OPUS, usage=usage(speed="fast", inference_geo="us"))
ITERATION = {"type": "message", "input_tokens": 1, "output_tokens": 2}
ADVISED = line(
    model=OPUS, usage=usage(iterations=[ITERATION, {**ITERATION, "type": "advisor_message", "model": HAIKU}])
)
DECLINED = line(stop_reason="refusal", content=[])
REFUSED_LATE = line(stop_reason="refusal")
LONG = line(usage=usage(cache_read_input_tokens=200_000))
UNSPLIT = line(usage=usage(cache_creation=None))
ALL = (line(), ERRORED, CANCELED, EXPIRED, SEARCHED, FAST_IN_THE_US, ADVISED, DECLINED, REFUSED_LATE, LONG, UNSPLIT)


def read(*chunks: bytes, **limits: int) -> BatchResults:
    meter = BatchMeter("msgbatch_1", **limits)
    for chunk in chunks:
        meter.feed(chunk)
    metered = meter.finish()
    assert metered.batch_id == "msgbatch_1"
    assert metered.batch_results is not None
    return metered.batch_results


def charge(model: str = HAIKU, marks: Sequence[str] = (), /, *, prompt_over: int = 0, **counts: int) -> Charge:
    terms = Terms(model=model, is_batch=True, prompt_over=prompt_over, **dict.fromkeys(marks, True))
    return Charge(terms=terms, **counts)


def jsonl(*lines: bytes) -> bytes:
    return b"".join(each + b"\n" for each in lines)


def test_it_adds_up_what_succeeded_and_counts_the_rest() -> None:
    results = read(jsonl(line(), line(), ERRORED, CANCELED, EXPIRED, EXPIRED))
    assert results == BatchResults(
        charges=(
            charge(
                input_tokens=24,
                output_tokens=120,
                cache_read_tokens=10,
                cache_write_5m_tokens=20,
                cache_write_1h_tokens=40,
            ),
        ),
        succeeded=2,
        errored=1,
        canceled=1,
        expired=2,
    )
    assert results.is_whole


def test_each_set_of_terms_is_kept_apart() -> None:
    counts = {
        "input_tokens": 12,
        "output_tokens": 60,
        "cache_read_tokens": 5,
        "cache_write_5m_tokens": 10,
        "cache_write_1h_tokens": 20,
    }
    assert read(FAST_IN_THE_US).charges == (charge(OPUS, ("is_fast", "is_us"), **counts),)
    assert read(LONG).charges == (charge(prompt_over=200_000, **counts | {"cache_read_tokens": 200_000}),)
    assert read(SEARCHED).charges == (charge(HAIKU, **counts, web_searches=2),)
    assert read(UNSPLIT).charges == (charge(**counts | {"cache_write_5m_tokens": 30, "cache_write_1h_tokens": 0}),)
    both = [charge(model, input_tokens=1, output_tokens=2) for model in (OPUS, HAIKU)]
    assert list(read(ADVISED).charges) == both


def test_what_was_declined_before_any_output_is_free_and_counts() -> None:
    assert read(DECLINED) == BatchResults(succeeded=1)
    assert read(REFUSED_LATE).charges == read(line()).charges


def test_a_line_is_charged_as_a_batch_whatever_tier_it_names() -> None:
    for tier in ("standard", "priority", None, 7):
        assert read(line(usage=usage(service_tier=tier))).charges == read(line()).charges


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n"])
def test_cut_anywhere_it_tells_the_same(end: bytes) -> None:
    whole = end.join(ALL)
    expected = read(whole)
    assert expected.is_whole
    assert expected.succeeded == 8
    for at in range(len(whole) + 1):
        assert read(whole[:at], whole[at:]) == expected
    assert read(*(whole[at : at + 1] for at in range(len(whole)))) == expected
    assert read(whole + end) == expected


@pytest.mark.parametrize(
    "odd",
    [
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"custom_id":"a"}',
        b'{"result":null}',
        b'{"result":{"type":7}}',
        line({"type": "succeeded"}),
        line({"type": "succeeded", "message": None}),
        line({"type": "succeeded", "message": {"type": "error"}}),
        line({"type": "a type of 2031", "message": message()}),
        line(usage=None),
        line(usage={}),
        line(usage={"input_tokens": 5}),
        line(usage=usage(output_tokens="many")),
        line(usage=usage(output_tokens=-1)),
        line()[:-1],
        b'{"result":' + b"[" * 100_000,
        b"\0",
    ],
)
def test_a_line_that_it_cannot_read_costs_no_other_and_is_told(odd: bytes) -> None:
    results = read(jsonl(line(), odd, line()))
    assert (results.succeeded, results.unreadable, results.is_whole) == (2, 1, False)
    assert results.charges == read(jsonl(line(), line())).charges


def test_nothing_at_all_is_no_whole_result() -> None:
    assert not read().is_whole
    assert not read(b"", b"\n", b"\r\n \n").is_whole


def test_a_line_that_is_too_long_is_not_held() -> None:
    long = line(content=[{"type": "text", "text": "x" * 5000}])
    meter = BatchMeter("msgbatch_1", max_line_bytes=1000)
    meter.feed(jsonl(line()))
    for start in range(0, len(long), 100):
        meter.feed(long[start : start + 100])
        assert len(meter._pending) <= 1000
    meter.feed(b"\n" + line() + b"\n" + long + b"\n" + line())
    results = meter.finish().batch_results
    assert results
    assert (results.succeeded, results.unreadable) == (3, 2)


def test_the_kinds_of_charges_are_bounded_and_so_are_names() -> None:
    results = read(jsonl(*(line(model=f"m-{number}") for number in range(MAX_TERMS + 5))))
    assert (len(results.charges), results.unreadable) == (MAX_TERMS, 5)
    (charged,) = read(jsonl(line(model="a\0b" + "x" * 10_000), line(model="ab" + "x" * 10_000))).charges
    assert charged.terms.model == "ab" + "x" * 198
    assert charged.output_tokens == 120


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2**33)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
counts = st.integers(0, 250_000) | st.none() | anything
iterations = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["message", "advisor_message", "compaction"]), "output_tokens": st.integers(0, 9)},
        optional={"model": st.sampled_from([HAIKU, OPUS]) | st.none(), "input_tokens": st.integers(0, 9)},
    ),
    max_size=3,
)
usages = st.fixed_dictionaries(
    {"output_tokens": counts},
    optional={
        "input_tokens": counts,
        "cache_read_input_tokens": counts,
        "cache_creation_input_tokens": counts,
        "cache_creation": st.none()
        | anything
        | st.fixed_dictionaries(
            {}, optional={"ephemeral_5m_input_tokens": counts, "ephemeral_1h_input_tokens": counts}
        ),
        "server_tool_use": st.none() | anything | st.fixed_dictionaries({}, optional={"web_search_requests": counts}),
        "speed": st.sampled_from(["fast", "standard", None]) | anything,
        "inference_geo": st.sampled_from(["us", "global", None]) | anything,
        "service_tier": st.sampled_from(["batch", "standard"]),
        "iterations": st.none() | iterations | anything,
    },
)
messages = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["message"] * 5 + ["error"]),
        "model": st.sampled_from([HAIKU, OPUS]) | anything,
        "usage": usages | anything,
        "content": st.sampled_from([[], [{"type": "text", "text": "Hi\n"}]]) | anything,
        "stop_reason": st.sampled_from(["end_turn", "refusal", None]) | anything,
    }
)
types = st.sampled_from(["succeeded"] * 6 + ["errored", "canceled", "expired", "of 2031"])
results = st.fixed_dictionaries({"type": types, "message": messages})


class Plainly:
    """`telemetry.money.charges.Used` of one whole message, as the JSON meter tells it."""

    model = ""

    def __init__(self, whole: bytes) -> None:
        metered = meter_json(whole)
        used = metered.usage
        self.is_final = used.source is UsageSource.FINAL
        self.answered_model = metered.model
        self.input_tokens, self.output_tokens = used.input_tokens, used.output_tokens
        self.cache_read_tokens = used.cache_read_tokens
        self.cache_write_5m_tokens, self.cache_write_1h_tokens = used.cache_write_5m_tokens, used.cache_write_1h_tokens
        self.web_search_requests = used.web_search_requests
        self.usage = used.raw.decode()
        self.usage_source = used.source.value
        self.is_declined = metered.is_declined
        self.refusals = ",".join(metered.refusals)


def read_plainly(body: bytes) -> BatchResults:
    """All lines at once, each message as if it had come alone."""
    counted = dict.fromkeys(("succeeded", "errored", "canceled", "expired", "unreadable"), 0)
    charges: list[Charge] = []
    for each in body.splitlines():
        result = json.loads(each)["result"]
        kind = result["type"]
        if kind == "succeeded":
            used = Plainly(json.dumps(result["message"]).encode())
            kind = kind if used.is_final else "unreadable"
            charges += charges_of(used) if used.is_final else []
        counted[kind if kind in counted else "unreadable"] += 1
    batched = [
        msgspec.structs.replace(each, terms=msgspec.structs.replace(each.terms, is_batch=True)) for each in charges
    ]
    return BatchResults(charges=tuple(added_up(batched)), **counted)


def by_terms(results: BatchResults) -> dict[Terms, Charge]:
    return {charge.terms: charge for charge in results.charges}


@given(st.lists(results, max_size=6), st.integers(1, 400))
def test_it_tells_what_reading_every_line_alone_tells(made: list[Any], piece: int) -> None:
    body = jsonl(*map(line, made))
    told = read(*(body[start : start + piece] for start in range(0, len(body), piece)))
    expected = read_plainly(body)
    assert by_terms(told) == by_terms(expected)
    assert told == BatchResults(
        charges=told.charges,
        succeeded=expected.succeeded,
        errored=expected.errored,
        canceled=expected.canceled,
        expired=expected.expired,
        unreadable=expected.unreadable,
    )


@given(st.binary(max_size=200), st.integers(0, 200))
def test_it_never_raises(body: bytes, at: int) -> None:
    assert read(body[:at], body[at:]) == read(body)


def test_a_hundred_thousand_lines_take_little_memory_and_no_long_time_at_once() -> None:
    """100 MB in pieces of 64 KB; its slowest piece is measured against what would hold up the event loop."""
    kilobyte = line(content=[{"type": "text", "text": "x" * 600}]) + b"\n"
    piece = kilobyte * (64 * 1024 // len(kilobyte))
    lines = piece.count(b"\n")
    meter = BatchMeter("msgbatch_1")
    meter.feed(piece)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(20):
        meter.feed(piece)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 10_000
    assert peak - before < 400_000
    fed, slowest = 21, 0.0
    while fed * lines < 100_000:
        start = time.perf_counter()
        meter.feed(piece)
        slowest = max(slowest, time.perf_counter() - start)
        fed += 1
    results = meter.finish().batch_results
    assert results
    assert (results.succeeded, results.is_whole) == (fed * lines, True)
    assert results.charges[0].output_tokens == 60 * fed * lines
    assert slowest < 0.05, "many times what it takes, for the sake of busy machines"


@pytest.mark.parametrize(
    ("method", "path", "batch_id"),
    [
        ("GET", "/v1/messages/batches/msgbatch_1/results", "msgbatch_1"),
        ("HEAD", "/v1/messages/batches/msgbatch_1/results", ""),
        ("GET", "/v1/messages/batches/msgbatch_1", ""),
        ("GET", "/v1/messages/batches", ""),
        ("GET", "/v1/messages/batches/msgbatch_1/results/more", ""),
        ("GET", "/v1/messages/batches/a/b/results", ""),
    ],
)
def test_it_is_for_the_results_of_a_batch_alone(method: str, path: str, batch_id: str) -> None:
    assert batch_of_results(method, path) == batch_id


def test_the_plain_way_is_the_one_that_lines_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the two ways that the property test compares would be one."""
    odd: list[bytes] = []
    monkeypatch.setattr(batchmeter.BatchMeter, "_read_carefully", lambda self, each: odd.append(each))
    for each in (line(), ERRORED, CANCELED, EXPIRED, SEARCHED, FAST_IN_THE_US, LONG, UNSPLIT):
        read(each)
    assert odd == []
    read(ADVISED, b"\n", DECLINED)
    assert odd == [ADVISED, DECLINED]
