import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import httpx2
import pytest
from anthropic import Anthropic, APIStatusError
from anthropic.lib.streaming import BetaMessageStream, MessageStream
from hypothesis import given
from hypothesis import strategies as st

from telemetry.record.message import UNPARSED_INPUT, MessageBuilder, message_from_stream
from telemetry.record.sse import SSEDecoder, SSEEvent
from tests import streams
from tests.streams import EVENTS, FALLBACK_MODEL, STREAMS, Event, block, message_delta, message_start, render

BETA_ONLY = {"compaction", "fallback"}


def built_from(*events: Event) -> dict[str, Any]:
    message = message_from_stream(render([*events]))
    assert message is not None
    return message


def builder_of(stream: bytes) -> MessageBuilder:
    builder = MessageBuilder()
    for event in SSEDecoder().feed(stream):
        builder.add(event)
    return builder


# The official SDK as the judge.


@contextmanager
def sdk_stream(raw: bytes, *, beta: bool) -> Iterator[MessageStream[None] | BetaMessageStream[None]]:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=raw)

    http_client = httpx2.Client(transport=httpx2.MockTransport(answer))
    with Anthropic(api_key="none", base_url="http://api.test", http_client=http_client) as client:
        if beta:
            with client.beta.messages.stream(
                model=streams.MODEL, max_tokens=1, messages=[{"role": "user", "content": "hi"}]
            ) as beta_stream:
                yield beta_stream
        else:
            with client.messages.stream(
                model=streams.MODEL, max_tokens=1, messages=[{"role": "user", "content": "hi"}]
            ) as stream:
                yield stream


def sdk_message(raw: bytes, *, beta: bool) -> dict[str, Any]:
    with sdk_stream(raw, beta=beta) as stream:
        return stream.get_final_message().to_dict(mode="json")


def as_the_sdk_has_it(message: dict[str, Any]) -> dict[str, Any]:
    """Undoes where we differ from SDK 2.12 on purpose. A stream that needs none of it passes unchanged."""
    if message["stop_reason"] is not None:
        message.setdefault("stop_details", None)  # the SDK names it even where the API did not
    message["usage"].pop("brand_new_tokens", None)  # of a delta's usage the SDK takes only the keys it knows
    for content in message["content"]:
        if content.pop(UNPARSED_INPUT, None) is not None:
            content["input"] = {"lines_of_text": ["one"]}  # the SDK guesses what a cut input was going to be
    return message


@pytest.mark.parametrize("beta", [False, True], ids=["ga", "beta"])
@pytest.mark.parametrize("name", sorted(STREAMS.keys() - BETA_ONLY - {"mid-stream error"}))
def test_it_rebuilds_what_the_sdk_rebuilds(name: str, beta: bool) -> None:
    ours = message_from_stream(STREAMS[name])
    assert ours is not None
    assert as_the_sdk_has_it(ours) == sdk_message(STREAMS[name], beta=beta)


@pytest.mark.parametrize("name", sorted(BETA_ONLY))
def test_it_rebuilds_what_the_beta_sdk_rebuilds(name: str) -> None:
    ours = message_from_stream(STREAMS[name])
    assert ours is not None
    assert as_the_sdk_has_it(ours) == sdk_message(STREAMS[name], beta=True)


@pytest.mark.parametrize("beta", [False, True], ids=["ga", "beta"])
@pytest.mark.parametrize("name", ["text", "thinking", "citations", "several message deltas", "refusal"])
def test_it_has_what_the_sdk_has_wherever_the_stream_breaks(name: str, beta: bool) -> None:
    events = EVENTS[name]
    for count in range(1, len(events)):
        broken = render(events[:count])
        ours = as_the_sdk_has_it(built_from(*events[:count]))
        theirs = sdk_message(broken, beta=beta)
        # null as the SDK's model assigns it, before a later message_delta names the reason
        theirs = theirs if theirs.get("stop_reason") else {k: v for k, v in theirs.items() if k != "stop_details"}
        assert ours == theirs


def test_it_has_what_the_sdk_has_before_an_error() -> None:
    raw = STREAMS["mid-stream error"]
    builder = builder_of(raw)
    with sdk_stream(raw, beta=False) as stream:
        with pytest.raises(APIStatusError) as raised:
            stream.until_done()
        assert builder.message == stream.current_message_snapshot.to_dict(mode="json")
    assert isinstance(raised.value.body, dict)
    assert builder.error == raised.value.body["error"] == {"type": "overloaded_error", "message": "Overloaded"}


# What the SDK cannot judge.


def test_it_has_no_message_before_the_start() -> None:
    assert message_from_stream(b"") is None
    assert message_from_stream(STREAMS["text"].partition(b"event: content")[2]) is None


def test_it_does_not_depend_on_event_lines_or_on_types() -> None:
    stream = STREAMS["text"]
    nameless = b"".join(line for line in stream.splitlines(keepends=True) if not line.startswith(b"event:"))
    typeless = render_without_types(EVENTS["text"])
    assert message_from_stream(nameless) == message_from_stream(typeless) == message_from_stream(stream)


def render_without_types(events: list[Event]) -> bytes:
    return b"".join(
        f"event: {event['type']}\ndata: {json.dumps({**event, 'type': None})}\n\n".encode() for event in events
    )


@pytest.mark.parametrize("raw", ['{"a": [1, 2', "{]", "nope", '"\\ud800"'])
def test_it_keeps_a_tool_input_that_is_not_json_as_it_came(raw: str) -> None:
    message = built_from(message_start(), *streams.tool(0, raw[:2], raw[2:]))
    assert message["content"][0]["input"] == {}
    assert message["content"][0][UNPARSED_INPUT] == raw


def test_it_shows_no_unparsed_input_where_the_input_is_json() -> None:
    tool_use = built_from(*streams.TOOL_USE)["content"][1]
    assert tool_use["input"] == {"location": "San Francisco, CA", "days": 3, "units": ["c", "f"]}
    assert UNPARSED_INPUT not in tool_use


def test_it_keeps_a_tool_input_of_null_apart_from_one_that_is_broken() -> None:
    tool_use = built_from(message_start(), *streams.tool(0, "null"))["content"][0]
    assert tool_use["input"] is None
    assert UNPARSED_INPUT not in tool_use


def test_it_overlays_usage_and_never_adds() -> None:
    message = built_from(
        message_start(input_tokens=10, cache_read_input_tokens=7, output_tokens=5),
        message_delta(None, usage={"output_tokens": 8, "cache_read_input_tokens": None}),
        message_delta("end_turn", usage={"output_tokens": 20, "iterations": [], "tomorrow": 1}),
    )
    usage = message["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (10, 7, 20)
    assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}
    assert (usage["iterations"], usage["tomorrow"]) == ([], 1)


def test_it_names_the_model_that_took_over() -> None:
    assert built_from(*streams.FALLBACK)["model"] == FALLBACK_MODEL


def test_it_keeps_the_model_where_none_is_said_to_take_over() -> None:
    assert built_from(message_start(), *block(0, {"type": "fallback", "to": {}}))["model"] == streams.MODEL


def test_it_puts_blocks_in_the_order_of_their_index() -> None:
    message = built_from(message_start(), *streams.text(2, "c"), *streams.text(0, "a"), *streams.text(1, "b"))
    assert [content["text"] for content in message["content"]] == ["a", "b", "c"]


def test_it_adds_citations_to_those_that_a_block_starts_with() -> None:
    start = {"type": "text", "text": "", "citations": [1]}
    message = built_from(message_start(), *block(0, start, {"type": "citations_delta", "citation": 2}))
    assert message["content"][0]["citations"] == [1, 2]


def test_it_keeps_what_a_message_is_whatever_a_delta_says() -> None:
    message = built_from(*streams.TEXT, message_delta(None, usage={}, type="x", content="x"))
    assert (message["type"], message["content"]) == ("message", built_from(*streams.TEXT)["content"])


def test_it_knows_one_message_a_stream() -> None:
    second = message_start()
    second["message"]["id"] = "msg_2"
    assert built_from(message_start(), second)["id"] == message_start()["message"]["id"]


def test_it_keeps_what_a_later_null_does_not_take_back() -> None:
    message = built_from(
        message_start(),
        message_delta("pause_turn", usage={}, container={"id": "c"}, beside={"context_management": {"a": 1}}),
        message_delta(None, usage=None, container=None, beside={"context_management": None}),
    )
    assert (message["stop_reason"], message["container"]) == ("pause_turn", {"id": "c"})
    assert message["context_management"] == {"a": 1}


def test_it_rebuilds_text_of_a_type_of_block_that_it_does_not_know() -> None:
    start = {"type": "connector_text", "text": "a"}
    message = built_from(message_start(), *block(0, start, {"type": "text_delta", "text": "b"}))
    assert message["content"] == [{"type": "connector_text", "text": "ab"}]


def test_it_gives_the_message_so_far_and_goes_on() -> None:
    builder = MessageBuilder()
    texts = []
    for event in SSEDecoder().feed(STREAMS["text"]):
        builder.add(event)
        if builder.message and builder.message["content"]:
            texts.append(builder.message["content"][0]["text"])
    assert texts[0] == ""
    assert texts[-1] == 'Hello, wörld 🌍!\nIt is "quoted" \\ and \u2028 odd.'
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))


@pytest.mark.parametrize("name", STREAMS)
def test_it_survives_a_stream_that_breaks_at_any_byte(name: str) -> None:
    stream = STREAMS[name]
    whole = message_from_stream(stream)
    assert whole is not None
    for cut in range(0, len(stream), 3):
        message = message_from_stream(stream[:cut])
        assert message is None or message["id"] == whole["id"]


NAMES = [
    *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
    *("message_delta", "error", ""),
]
WORDS = st.sampled_from(
    [
        *("type", "index", "delta", "usage", "message", "content_block", "content", "model", "to", "error"),
        *("text", "thinking", "partial_json", "citation", "citations", "signature", "input", "stop_reason"),
        *("text_delta", "thinking_delta", "input_json_delta", "citations_delta", "compaction_delta", "fallback"),
    ]
)
ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)
HOSTILE_EVENT = st.builds(
    SSEEvent,
    st.sampled_from(NAMES).map(str.encode),
    ANY_JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20),
)


@given(st.lists(HOSTILE_EVENT, max_size=8))
def test_it_survives_hostile_events(events: list[SSEEvent]) -> None:
    builder = MessageBuilder()
    for event in SSEDecoder().feed(render([message_start(), *streams.text(0, "a")])):
        builder.add(event)
    for event in events:
        builder.add(event)
        assert builder.message is not None
        json.dumps(builder.message)


@pytest.mark.parametrize(
    "data",
    [b'{"index":' + b"[" * 100_000, b'{"type":"text_delta","text":"\xff"}', b"[1]", b"", b'{"index":1e999}'],
)
def test_it_passes_over_data_that_is_no_json_object(data: bytes) -> None:
    builder = builder_of(render(EVENTS["text"][:3]))
    before = builder.message
    builder.add(SSEEvent(b"content_block_delta", data))
    assert builder.message == before
