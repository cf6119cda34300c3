import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.meter import JSONMeter, Metered, NoMeter, StreamMeter, meter_json
from telemetry.record.message import message_from_stream
from telemetry.record.usage import COUNT_MAX, Usage, UsageSource
from tests import streams
from tests.streams import (
    EVENTS,
    FALLBACK_MODEL,
    MODEL,
    STREAMS,
    Event,
    message_delta,
    message_start,
    render,
    render_event,
    text,
)

BROKEN = {"mid-stream error"}


def metered(*chunks: bytes, drained: bool = False) -> Metered:
    meter = StreamMeter()
    for chunk in chunks:
        meter.feed(chunk)
    return meter.finish(drained=drained)


def metered_events(*events: Event) -> Metered:
    return metered(render([*events]))


def usage_of(start: dict[str, Any], *deltas: Any) -> Usage:
    """Of a stream whose `message_start` and `message_delta`s report these."""
    return metered_events(message_start(**start), *(message_delta(None, usage=delta) for delta in deltas)).usage


def answer(**changes: Any) -> bytes:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "t", "name": "n", "input": {}}],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 6, "cache_read_input_tokens": None},
    }
    return json.dumps(message | changes).encode()


# A stream to its end.


def test_it_takes_the_input_of_the_start_and_the_output_of_the_end() -> None:
    result = metered_events(*streams.TOOL_USE)
    assert result.usage.source is UsageSource.FINAL
    assert (result.usage.input_tokens, result.usage.output_tokens) == (3, 89)
    assert result.usage.cache_read_tokens == 12_000
    assert (result.usage.cache_write_5m_tokens, result.usage.cache_write_1h_tokens) == (100, 300)


def test_it_tells_what_the_answer_is() -> None:
    result = metered_events(*streams.TOOL_USE)
    assert result.model == MODEL
    assert result.message_id == "msg_01XFDUDYJgAACzvnptvVoYEL"
    assert result.stop_reason == "tool_use"
    assert result.saw_message_stop
    assert (result.error_type, result.error_message, result.lost) == ("", "", False)


@pytest.mark.parametrize(
    ("name", "calls"), [("tool use", 2), ("web search", 1), ("fallback", 1), ("text", 0), ("compaction", 0)]
)
def test_it_counts_the_uses_of_tools(name: str, calls: int) -> None:
    assert metered(STREAMS[name]).tool_calls == calls


def test_it_counts_the_tools_of_the_api() -> None:
    usage = metered_events(*streams.WEB_SEARCH).usage
    assert (usage.web_search_requests, usage.web_fetch_requests, usage.code_execution_requests) == (1, 2, 0)
    assert usage_of({}, {"server_tool_use": {"code_execution_requests": 4}}).code_execution_requests == 4


def test_it_names_the_model_that_took_over() -> None:
    assert metered_events(*streams.FALLBACK).model == FALLBACK_MODEL


def test_it_keeps_the_model_and_the_stop_reason_that_nothing_replaces() -> None:
    result = metered_events(
        message_start(),
        *streams.block(0, {"type": "fallback", "to": None}),
        message_delta("pause_turn", usage={"output_tokens": 1}),
        message_delta(None, usage={"output_tokens": 2}),
    )
    assert (result.model, result.stop_reason) == (MODEL, "pause_turn")


def test_it_reads_streams_without_event_lines() -> None:
    nameless = b"".join(line for line in STREAMS["tool use"].splitlines(True) if not line.startswith(b"event:"))
    assert metered(nameless) == metered(STREAMS["tool use"])


@pytest.mark.parametrize("name", sorted(EVENTS.keys() - BROKEN))
def test_it_keeps_the_usage_that_the_whole_message_would_have(name: str) -> None:
    message = message_from_stream(STREAMS[name])
    assert message is not None
    assert json.loads(metered(STREAMS[name]).usage.raw) == message["usage"]


# Reports are laid over each other.


def test_it_never_adds_reports_up() -> None:
    usage = usage_of({"input_tokens": 10}, {"output_tokens": 3, "input_tokens": 10}, {"output_tokens": 9})
    assert (usage.input_tokens, usage.output_tokens) == (10, 9)


def test_it_takes_the_maximum_of_each_counter() -> None:
    usage = usage_of(
        {"input_tokens": 50, "cache_read_input_tokens": 7},
        {"output_tokens": 30, "input_tokens": 0, "cache_read_input_tokens": 90},
        {"output_tokens": 2},
    )
    assert (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens) == (50, 90, 30)


def test_it_does_not_bill_the_placeholder_of_the_start() -> None:
    assert usage_of({"output_tokens": 63}, {"output_tokens": 4}).output_tokens == 4


def test_it_keeps_what_only_the_start_reports() -> None:
    raw = json.loads(usage_of({"service_tier": "priority", "speed": "fast"}, {"output_tokens": 1}).raw)
    assert (raw["service_tier"], raw["speed"], raw["output_tokens"]) == ("priority", "fast", 1)


@pytest.mark.parametrize(
    ("split", "total", "expected"),
    [
        ((100, 300), 400, (100, 300)),
        ((100, 300), 450, (150, 300)),  # the excess, which has no split
        ((0, 0), 80, (80, 0)),
        ((100, 300), 0, (100, 300)),
    ],
)
def test_it_splits_cache_writes_by_their_life(split: tuple[int, int], total: int, expected: tuple[int, int]) -> None:
    creation = dict(zip(("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"), split, strict=True))
    usage = usage_of({"cache_creation": creation}, {"output_tokens": 1, "cache_creation_input_tokens": total})
    assert (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens) == expected


def test_it_counts_cache_writes_without_any_split_as_5_minutes() -> None:
    usage = usage_of({"cache_creation": None, "cache_creation_input_tokens": 70})
    assert (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens) == (70, 0)


def iteration(kind: str, write_5m: int, write_1h: int) -> dict[str, Any]:
    split = {"ephemeral_5m_input_tokens": write_5m, "ephemeral_1h_input_tokens": write_1h}
    return {"type": kind, "input_tokens": 1, "output_tokens": 1, "cache_creation": split}


@pytest.mark.parametrize(
    ("iterations", "expected"),
    [
        ([iteration("message", 40, 20), iteration("message", 0, 40)], (40, 60)),
        ([iteration("compaction", 7, 7), iteration("message", 30, 70)], (30, 70)),
        ([iteration("message", 5, 5), iteration("fallback_message", 10, 90)], (10, 90)),
        ([iteration("message", 1, 1)], (100, 0)),  # explains nothing
        ([iteration("message", -1, 101)], (100, 0)),
        ([{"type": "message", "cache_creation": "none"}], (100, 0)),
        ("none", (100, 0)),
    ],
)
def test_it_takes_the_split_of_a_raised_total_from_the_iterations(iterations: Any, expected: tuple[int, int]) -> None:
    usage = usage_of({}, {"output_tokens": 1, "cache_creation_input_tokens": 100, "iterations": iterations})
    assert (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens) == expected


def test_it_leaves_the_iterations_to_those_who_bill_them() -> None:
    usage = metered_events(*streams.COMPACTION).usage
    assert (usage.input_tokens, usage.output_tokens) == (23_000, 1_000)
    assert [entry["input_tokens"] for entry in json.loads(usage.raw)["iterations"]] == [180_000, 23_000]


@pytest.mark.parametrize("bad", ["12", -1, 1.5, True, None, [], {}, COUNT_MAX + 1, 10**400])
def test_it_loses_only_the_counter_that_is_no_count(bad: Any) -> None:
    usage = usage_of({"input_tokens": bad, "cache_read_input_tokens": 5}, {"output_tokens": 8})
    assert (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens) == (0, 5, 8)


@pytest.mark.parametrize("bad", ["none", 3, [], None])
def test_it_loses_only_the_group_that_is_no_object(bad: Any) -> None:
    usage = usage_of({"cache_creation": bad, "server_tool_use": bad, "cache_creation_input_tokens": 5})
    assert (usage.input_tokens, usage.cache_write_5m_tokens, usage.web_search_requests) == (25, 5, 0)


def test_it_loses_only_the_fact_of_a_wrong_type() -> None:
    start = message_start()
    start["message"] |= {"id": 7, "stop_reason": {}}
    result = metered_events(start, *text(0, "a"), message_delta([], usage={"output_tokens": 2}))
    assert (result.message_id, result.stop_reason, result.model) == ("", "", MODEL)
    assert result.usage.output_tokens == 2


def test_it_keeps_a_usage_that_is_not_utf_8_as_text() -> None:
    body = answer(usage={"input_tokens": 12, "note": "BAD"}).replace(b"BAD", b"\xff")
    assert json.loads(meter_json(body).usage.raw) == {"input_tokens": 12, "note": "\ufffd"}


# A stream that ends early.


def test_it_is_final_once_the_last_usage_came_even_without_a_stop() -> None:
    result = metered_events(*streams.TEXT[:-1])
    assert not result.saw_message_stop
    assert (result.usage.source, result.usage.output_tokens) == (UsageSource.FINAL, 15)


def test_it_says_when_the_last_usage_was_read_on_for() -> None:
    assert metered(STREAMS["text"], drained=True).usage.source is UsageSource.DRAINED
    assert metered(render(streams.TEXT[:4]), drained=True).usage.source is UsageSource.ESTIMATED
    assert metered(drained=True).usage.source is UsageSource.NONE


def test_it_estimates_output_from_what_came_and_keeps_the_input() -> None:
    result = metered_events(
        message_start(input_tokens=900, cache_read_input_tokens=80, output_tokens=1),
        *streams.block(0, {"type": "thinking"}, {"type": "thinking_delta", "thinking": "é" * 10}),
        *streams.tool(1, "x" * 20),
        *text(2, "y" * 11)[:-1],
    )
    assert result.usage.source is UsageSource.ESTIMATED
    assert (result.usage.input_tokens, result.usage.cache_read_tokens) == (900, 80)
    assert result.usage.output_tokens == 11  # 41 characters, in fours, rounded up
    assert json.loads(result.usage.raw)["output_tokens"] == 1
    assert result.tool_calls == 1


def test_it_does_not_take_signatures_and_citations_for_output() -> None:
    without = render(streams.text(0, "abc"))
    signature = {"type": "signature_delta", "signature": "s" * 400}
    citation = {"type": "citations_delta", "citation": {"cited_text": "c" * 400}}
    more = [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in (signature, citation)]
    assert metered(without, render(more)).usage.output_tokens == metered(without).usage.output_tokens == 1


def test_it_estimates_no_less_than_the_placeholder() -> None:
    assert usage_of({"output_tokens": 26}).output_tokens == 26


def test_it_estimates_output_of_a_stream_whose_start_it_missed() -> None:
    usage = metered_events(*text(0, "12345678")).usage
    assert usage == Usage(output_tokens=2, source=UsageSource.ESTIMATED)


def test_it_sees_no_use_where_nothing_came() -> None:
    assert metered() == metered(b": hello\n\n", render([streams.PING])) == Metered()
    assert Metered().usage.source is UsageSource.NONE


def test_it_tells_of_an_error_in_mid_stream_and_estimates() -> None:
    result = metered_events(*streams.MIDSTREAM_ERROR)
    assert (result.error_type, result.error_message) == ("overloaded_error", "Overloaded")
    assert (result.usage.source, result.usage.input_tokens) == (UsageSource.ESTIMATED, 25)
    assert result.usage.output_tokens == 3  # the error's own text is not output


@pytest.mark.parametrize("data", [b"gone", b'{"type":"error"}', b'{"error":"x"}', b'{"error":{"type":3}}'])
def test_it_tells_of_an_error_that_it_cannot_read(data: bytes) -> None:
    assert metered(b"event: error\ndata: " + data + b"\n\n").error_type == "error"


def test_it_keeps_what_it_knew_when_it_loses_the_stream() -> None:
    meter = StreamMeter()
    meter.feed(render([message_start(input_tokens=77)]))
    for _ in range(17):
        meter.feed(b"data: " + b"x" * 1024 * 1024)
    meter.feed(b"\n\n" + render([message_delta("end_turn", usage={"output_tokens": 1})]))
    result = meter.finish()
    assert result.lost
    assert (result.usage.source, result.usage.input_tokens) == (UsageSource.ESTIMATED, 77)


# Bytes in any pieces, and any bytes.


@pytest.mark.parametrize("name", STREAMS)
def test_it_finds_the_same_wherever_a_stream_is_cut(name: str) -> None:
    stream = STREAMS[name]
    expected = metered(stream)
    assert expected.usage.source is not UsageSource.NONE
    for cut in range(len(stream)):
        assert metered(stream[:cut], stream[cut:]) == expected


@given(name=st.sampled_from(sorted(STREAMS)), cuts=st.lists(st.integers(0, 3000), max_size=40))
def test_it_finds_the_same_in_any_pieces(name: str, cuts: list[int]) -> None:
    stream = STREAMS[name]
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert metered(*(stream[start:end] for start, end in pairwise(edges))) == metered(stream)


@pytest.mark.parametrize("name", EVENTS)
def test_it_finds_the_same_event_by_event(name: str) -> None:
    assert metered(*map(render_event, EVENTS[name])) == metered(STREAMS[name])


KINDS = ["message_start", "content_block_start", "content_block_delta", "message_delta", "message_stop", "error", ""]
KEYS = st.sampled_from(["type", "message", "delta", "usage", "content_block", "to", "error", "text", "output_tokens"])
ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(KINDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)
ANY_DATA = ANY_JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20)


@given(st.lists(st.tuples(st.sampled_from(KINDS), ANY_DATA), max_size=6))
def test_it_survives_hostile_events(events: list[tuple[str, bytes]]) -> None:
    chunks = [b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n" for kind, data in events]
    usage = metered(render([message_start()]), *chunks).usage
    assert 0 <= usage.output_tokens <= COUNT_MAX
    assert usage.source is not UsageSource.NONE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"type":' * 50_000, b'{"message":"\xff"}', b"\xff", b""])
def test_it_survives_data_that_is_no_json(kind: str, data: bytes) -> None:
    assert metered(b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n").usage == Usage()


# Answers that are not streams.


def test_it_meters_an_answer_that_is_not_a_stream() -> None:
    meter = JSONMeter()
    for start in range(0, len(answer()), 10):
        meter.feed(answer()[start : start + 10])
    result = meter.finish()
    assert (result.model, result.message_id, result.stop_reason) == (MODEL, "msg_1", "tool_use")
    assert result.tool_calls == 1
    assert (result.usage.source, result.usage.input_tokens, result.usage.output_tokens) == (UsageSource.FINAL, 12, 6)
    assert json.loads(result.usage.raw) == {"input_tokens": 12, "output_tokens": 6, "cache_read_input_tokens": None}
    assert meter_json(answer(), drained=True).usage.source is UsageSource.DRAINED


@pytest.mark.parametrize("name", sorted(EVENTS.keys() - BROKEN))
def test_it_finds_the_same_in_a_message_as_in_its_stream(name: str) -> None:
    message = message_from_stream(STREAMS[name])
    streamed = metered(STREAMS[name])
    whole = meter_json(json.dumps(message).encode())
    for fact in ("model", "message_id", "stop_reason", "tool_calls"):
        assert getattr(whole, fact) == getattr(streamed, fact)
    assert json.loads(whole.usage.raw) == json.loads(streamed.usage.raw)
    assert whole.usage.output_tokens == streamed.usage.output_tokens


def test_it_tells_of_an_error_answer() -> None:
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"Slow down","details":{}},"request_id":null}'
    assert meter_json(body) == Metered(error_type="rate_limit_error", error_message="Slow down")


@pytest.mark.parametrize(
    "body",
    [
        b'{"input_tokens": 2095}',  # count_tokens
        b'{"type":"session","usage":{"input_tokens":5000,"output_tokens":100}}',
        b'{"object":"chat.completion","usage":{"prompt_tokens":5,"completion_tokens":1}}',
        b'{"type":"message","usage":{"prompt_tokens":5,"completion_tokens":1}}',
        b'{"data":[{"type":"model","id":"claude"}],"has_more":false}',
        b"<html><body>502 Bad Gateway</body></html>",
        b"[]",
        b"null",
        b"",
        b"\xff",
        b"[" * 100_000,
        answer()[:-1],
    ],
)
def test_it_bills_nothing_that_is_not_a_message(body: bytes) -> None:
    assert meter_json(body) == Metered()


@pytest.mark.parametrize("field", ["id", "model", "content", "stop_reason"])
@pytest.mark.parametrize("bad", [None, 3, "x", [], {}, [None, "x", {"type": 4}]])
def test_it_bills_a_message_with_a_field_of_a_wrong_type(field: str, bad: Any) -> None:
    assert meter_json(answer(**{field: bad})).usage == meter_json(answer()).usage


@given(ANY_DATA)
def test_it_survives_any_answer(body: bytes) -> None:
    assert isinstance(meter_json(body), Metered)


def test_it_gives_up_on_an_answer_beyond_its_bound() -> None:
    meter = JSONMeter(max_bytes=len(answer()))
    meter.feed(answer())
    assert not meter.finish().lost
    meter.feed(b" ")
    assert meter.finish() == Metered(lost=True)


def test_it_meters_nothing_where_nothing_is_billed() -> None:
    meter = NoMeter()
    meter.feed(answer())
    assert meter.finish() == Metered()


@pytest.mark.parametrize("name", sorted(EVENTS.keys() - BROKEN))
def test_it_knows_an_answer_that_was_cut(name: str) -> None:
    meter = StreamMeter()
    assert not meter.is_cut
    *events, stop = [render_event(event) for event in EVENTS[name]]
    for event in events:
        meter.feed(event)
    assert meter.is_cut
    meter.feed(stop)
    assert not meter.is_cut


def test_an_answer_that_ends_in_an_error_is_not_cut() -> None:
    meter = StreamMeter()
    meter.feed(STREAMS["mid-stream error"])
    assert not meter.is_cut


# Refusals.


def refusal(category: str | None) -> Event:
    event = message_delta("refusal", usage={"output_tokens": 0})
    event["delta"]["stop_details"] = {"type": "refusal", "category": category}
    return event


def handover(category: str | None) -> dict[str, Any]:
    to = {"model": FALLBACK_MODEL}
    return {"type": "fallback", "to": to, "trigger": {"type": "refusal", "category": category}}


@pytest.mark.parametrize(("category", "named"), [("bio", "bio"), (None, "-"), ("a,b", "-"), ("", "-")])
def test_a_refusal_before_any_output_is_told_with_its_category(category: str | None, named: str) -> None:
    streamed = metered_events(message_start(), refusal(category))
    details = {"type": "refusal", "category": category}
    whole = meter_json(answer(content=[], stop_reason="refusal", stop_details=details))
    for result in (streamed, whole):
        assert (result.is_declined, result.refusals) == (True, (named,))


def test_a_refusal_after_some_output_declines_nothing() -> None:
    assert not metered_events(message_start(), *text(0, "Hi"), refusal("bio")).is_declined
    assert not meter_json(answer(stop_reason="refusal")).is_declined


def test_each_model_that_handed_over_is_told_of_and_then_the_answer() -> None:
    blocks = [handover("cyber"), handover(None)]
    streamed = metered_events(
        message_start(), *streams.block(0, blocks[0]), *streams.block(1, blocks[1]), refusal("bio")
    )
    whole = meter_json(answer(content=blocks, stop_reason="refusal", stop_details={"category": "bio"}))
    for result in (streamed, whole):
        assert (result.is_declined, result.refusals) == (True, ("cyber", "-", "bio"))


def test_a_compaction_is_no_word_of_the_answer() -> None:
    compaction = {"type": "compaction", "content": "Earlier …"}
    assert metered_events(message_start(), *streams.block(0, compaction), refusal("cyber")).is_declined
    assert meter_json(answer(content=[compaction], stop_reason="refusal")).is_declined


def test_refusals_have_a_bound() -> None:
    blocks = [handover("cyber")] * 50
    assert len(metered_events(message_start(), *(e for b in blocks for e in streams.block(0, b))).refusals) == 10
    assert len(meter_json(answer(content=blocks)).refusals) == 10


def test_what_a_refusal_says_of_itself_may_be_anything() -> None:
    odds: list[Any] = [None, 5, [], {"category": 5}, {"category": {"a": 1}}, "bio"]
    for odd in odds:
        assert meter_json(answer(content=[], stop_reason="refusal", stop_details=odd)).refusals == ("-",)
