import contextlib
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import InvalidRequest
from proxy.wire import Ask, lineage, read
from telemetry.record.exchange import Kind

USER = {"role": "user", "content": "Hello"}
SESSION = "0b5c0b3a-aaaa-4000-8000-000000000000"


def ask(route_kind: Kind = Kind.INFERENCE, **body: Any) -> Ask:
    return read(json.dumps({"model": "m", "messages": [USER]} | body).encode(), route_kind)


def test_it_reads_what_nexus_needs() -> None:
    got = ask(stream=True, messages=[USER] * 3, metadata={"user_id": "me"})
    assert (got.model, got.is_stream, got.message_count, got.user_id) == ("m", True, 3, "me")


@pytest.mark.parametrize(
    "odd",
    [
        {"stream": "yes"},
        {"stream": None},
        {"messages": []},
        {"messages": [1, None, "x", {"role": 7}]},
        {"metadata": 1},
        {"metadata": {"user_id": 5}},
        {"system": {"not": "a list"}},
        {"unknown": {"deep": [{}]}},
        {"messages": [USER, {"content": "no role"}]},
    ],
)
def test_what_it_does_not_need_is_the_apis_to_judge(odd: dict[str, Any]) -> None:
    got = ask(**odd)
    assert (got.model, got.is_stream, got.user_id) == ("m", False, "")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"null", "object"),
        (b"[]", "object"),
        (b"{}", "model"),
        (b'{"model":null,"messages":[]}', "model"),
        (b'{"model":"m"}', "messages"),
        (b'{"model":"m","messages":{}}', "messages"),
        (b'{"model":"\xff","messages":[]}', "JSON"),
        (b'{"model":"m","messages":[],"metadata":{"user_id":"\xff"}}', "JSON"),
        (b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}', "JSON"),
        (b'{"model":"m","messages":[]} x', "JSON"),
        (b"[" * 200_000, "JSON"),
        (b'{"model":"m","messages":' + b"[" * 200_000, "JSON"),
        (b'{"model":"m","messages":[],"x":' + b'{"a":' * 200_000, "JSON"),
    ],
)
def test_it_says_what_is_wrong(body: bytes, word: str) -> None:
    with pytest.raises(InvalidRequest, match=word):
        read(body, Kind.INFERENCE)


@pytest.mark.parametrize(
    "bomb",
    [
        b'{"model":"m","messages":[' + b"0," * 4_000_000 + b"0]}",
        b'{"model":"m","messages":[],"metadata":{"user_id":[' + b"[]," * 3_000_000 + b"0]}}",
        b'{"model":"m","messages":[],"system":[' + b"0," * 4_000_000 + b"0]}",
        b'{"model":"m","stream":[' + b"0," * 4_000_000 + b'0],"messages":[]}',
        b'{"model":"m","messages":[{}' + b",{}" * 3_000_000 + b"]}",
        b'{"messages":7,' + b",".join(b'"%d":0' % number for number in range(800_000)) + b"}",
    ],
    ids=["messages", "metadata", "system", "stream", "empty messages", "keys"],
)
def test_a_body_of_millions_of_parts_builds_next_to_nothing(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        with contextlib.suppress(InvalidRequest):
            read(bomb, Kind.INFERENCE)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2 * len(bomb)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_anything_is_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(InvalidRequest):
        assert isinstance(read(body, Kind.INFERENCE), Ask)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, Kind.QUERY_EVALUATION),
        ({"system": ""}, Kind.QUERY_EVALUATION),
        ({"system": "one"}, Kind.QUERY_EVALUATION),
        ({"system": [{"type": "text", "text": "one"}]}, Kind.QUERY_EVALUATION),
        ({"system": [{"type": "text", "text": "one"}] * 2}, Kind.INFERENCE),
        ({"system": "one", "messages": [USER, {"role": "system", "content": "two"}]}, Kind.INFERENCE),
        ({"messages": [{"role": "user", "content": " Quota "}]}, Kind.QUOTA),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "quota"}]}]}, Kind.QUOTA),
        ({"messages": [{"role": "user", "content": "quota"}, {"role": "assistant", "content": "x"}]}, Kind.QUOTA),
        ({"messages": [{"role": "user", "content": "what is my quota"}]}, Kind.QUERY_EVALUATION),
    ],
)
def test_it_tells_the_kind(body: dict[str, Any], kind: Kind) -> None:
    assert ask(**body).kind is kind
    assert ask(Kind.COUNT_TOKENS, **body).kind is Kind.COUNT_TOKENS


@pytest.mark.parametrize(
    ("user_id", "session"),
    [
        (f"user_{'a' * 64}_account__session_{SESSION}", SESSION),
        (f"user_{'a' * 64}_account_{SESSION}_session_{SESSION}", SESSION),
        (json.dumps({"device_id": "d", "account_uuid": "", "session_id": SESSION}), SESSION),
        ("claude-1", ""),
        ("user_x_session_not-a-uuid", ""),
        ('{"session_id": 7}', ""),
        ("{" * 100_000, ""),
        ("", ""),
    ],
)
def test_it_finds_the_session_in_a_user_id(user_id: str, session: str) -> None:
    assert lineage([], user_id).session_id == session


def test_claude_codes_headers_go_before_the_user_id() -> None:
    headers = [
        (b"x-claude-code-session-id", b"from the header"),
        (b"x-claude-code-agent-id", b"agent"),
        (b"x-claude-code-parent-agent-id", b"p" * 500),
    ]
    got = lineage(headers, f"user_x_session_{SESSION}")
    assert (got.session_id, got.agent_id, got.parent_agent_id) == ("from the header", "agent", "p" * 100)
