"""No body is a fault of Nexus: whatever it is, it is read or refused as a request that is not valid."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import InvalidRequest
from proxy.wire import read
from telemetry.record.exchange import Kind

ODD_VALUES = {
    "invalid UTF-8": b'"\xff"',
    "an overlong character": b'"\xc0\x80"',
    "a lone surrogate": b'"\\ud83d"',
    "a large number": b"1e999999",
    "a long number": b"1" * 5000,
    "a NUL": b'"\\u0000"',
}
FIELDS = {
    "model": b'{"model":%b,"messages":[]}',
    "stream": b'{"model":"m","messages":[],"stream":%b}',
    "messages": b'{"model":"m","messages":%b}',
    "a message": b'{"model":"m","messages":[%b]}',
    "a role": b'{"model":"m","messages":[{"role":%b,"content":"x"}]}',
    "content": b'{"model":"m","messages":[{"role":"user","content":%b}]}',
    "a block": b'{"model":"m","messages":[{"role":"user","content":[%b]}]}',
    "system": b'{"model":"m","messages":[],"system":%b}',
    "metadata": b'{"model":"m","messages":[],"metadata":%b}',
    "user_id": b'{"model":"m","messages":[],"metadata":{"user_id":%b}}',
    "a field unheard of": b'{"model":"m","messages":[],"unheard_of":%b}',
    "lenient metadata": b'{"model":"m","messages":[],"stream":null,"metadata":%b}',
}


def body(**changes: Any) -> bytes:
    message = {"role": "user", "content": "Hello"}
    return json.dumps({"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [message]} | changes).encode()


def reads_or_refuses(raw: bytes) -> None:
    for route in (Kind.INFERENCE, Kind.COUNT_TOKENS):
        try:
            read(raw, route)
        except InvalidRequest:
            continue


@pytest.mark.parametrize("value", ODD_VALUES)
@pytest.mark.parametrize("field", FIELDS)
def test_no_value_is_a_fault_of_nexus(field: str, value: str) -> None:
    reads_or_refuses(FIELDS[field] % ODD_VALUES[value])


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("field", [*FIELDS, "the body"])
def test_a_nesting_bomb_is_refused(field: str, opening: bytes) -> None:
    bomb = opening * 200_000
    with pytest.raises(InvalidRequest):
        read(FIELDS[field] % bomb if field in FIELDS else bomb, Kind.INFERENCE)


@pytest.mark.parametrize("field", FIELDS)
def test_no_depth_of_nesting_is_a_fault_of_nexus(field: str) -> None:
    for depth in range(800, 1010):
        reads_or_refuses(FIELDS[field] % (b"[" * depth + b"]" * depth))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["model", "messages", "stream", "system", "metadata"]), JSON), JSON)
def test_no_json_is_a_fault_of_nexus(changes: dict[str, Any], message: Any) -> None:
    reads_or_refuses(body(**changes))
    reads_or_refuses(body(messages=[message]))


@given(st.binary(max_size=30), st.integers(0, len(body())))
def test_no_bytes_are_a_fault_of_nexus(noise: bytes, at: int) -> None:
    raw = body(metadata={"user_id": "ada"})
    reads_or_refuses(raw[:at] + noise + raw[at + len(noise) :])
