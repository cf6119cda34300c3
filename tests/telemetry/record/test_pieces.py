"""A body that was split is put together again byte for byte, whatever it looked like."""

import json
import time
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.ids import new_id
from telemetry.record.pieces import MIN_PIECE_BYTES, MissingPiece, Split, join, piece_id, references, split

DOMAIN = new_id()
LONG = "x" * MIN_PIECE_BYTES


def rebuilt(body: bytes) -> bytes:
    parts = split(body)
    ids = [piece_id(DOMAIN, piece) for piece in parts.pieces]
    layout = parts.layout(ids)
    assert references(layout) == ids
    return join(layout, dict(zip(ids, parts.pieces, strict=True)))


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "claude-haiku-4-5", **fields}).encode()


def message(text: str, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
long_texts = st.text(min_size=MIN_PIECE_BYTES, max_size=3 * MIN_PIECE_BYTES)
messages = st.lists(st.builds(message, long_texts | st.text(max_size=20)) | values, max_size=6) | values
requests = st.fixed_dictionaries(
    {},
    optional={
        "messages": messages,
        "system": long_texts | st.lists(st.builds(message, long_texts), max_size=3) | values,
        "tools": st.lists(st.builds(message, long_texts), max_size=3) | values,
        "model": values,
        "metadata": values,
    },
)
# Two equal fields, odd white space, escapes or none: whatever a client may write.
shapes = st.builds(
    lambda value, indent, ascii, keys, doubled: (
        json.dumps(value, indent=indent, ensure_ascii=ascii, sort_keys=keys, separators=(" ,\t", "\r\n: ")).encode(
            "utf-8", "surrogatepass"
        )
        * (2 if doubled else 1)
    ),
    requests,
    st.none() | st.integers(0, 3) | st.just("\t"),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@given(shapes)
def test_any_request_comes_back(raw: bytes) -> None:
    assert rebuilt(raw) == raw


@given(st.binary(max_size=400))
def test_any_bytes_come_back(raw: bytes) -> None:
    assert rebuilt(raw) == raw


@given(shapes, st.integers(0, 3000))
def test_a_body_that_was_cut_comes_back(raw: bytes, length: int) -> None:
    assert rebuilt(raw[:length]) == raw[:length]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"not json \xff",
        b'{"messages":' + b"[" * 5000,
        b'{"messages":[],"messages":[{"role":"user","content":"' + LONG.encode() + b'"}]}',
        b'{"system":"' + LONG.encode() + b'","messages":[{"content":"' + LONG.encode() + b'"}]}',
        body(messages=[message(LONG)] * 5, system=LONG, tools=[message(LONG)] * 2),
        body(messages=[message("y" * 3_000_000)]),
        # The bytes of a later piece stand inside an earlier one, and before any piece.
        body(note=message(LONG), messages=[message(LONG + LONG), message(LONG)], system=[message(LONG)]),
    ],
    ids=lambda raw: f"{len(raw)} bytes",
)
def test_odd_bodies_come_back(raw: bytes) -> None:
    assert rebuilt(raw) == raw


def test_messages_blocks_and_tools_are_pieces_and_short_ones_are_not() -> None:
    parts = split(
        body(
            messages=[message(LONG), message("short"), message("z" * 500, "assistant")],
            system=[message("billing"), message("s" * 900)],
            tools=[{"name": "a"}, {"name": "b", "description": LONG}],
        )
    )
    assert [len(piece) > MIN_PIECE_BYTES for piece in parts.pieces] == [True] * 4
    assert json.loads(parts.pieces[0]) == message(LONG)
    assert json.loads(parts.pieces[2]) == message("s" * 900)
    assert [tool["name"] for tool in json.loads(parts.pieces[3])] == ["a", "b"]


def test_another_turn_of_a_conversation_has_the_same_pieces() -> None:
    turn = [message(LONG + str(number)) for number in range(10)]
    first, second = split(body(messages=turn)), split(body(messages=[*turn, message("w" * 400)], stream=True))
    assert second.pieces[:10] == first.pieces
    assert len(second.pieces) == 11


def test_the_same_bytes_are_the_same_piece_in_one_domain_only() -> None:
    assert piece_id(DOMAIN, b"a") == piece_id(DOMAIN, b"a")
    assert piece_id(DOMAIN, b"a") != piece_id(DOMAIN, b"b")
    assert piece_id(DOMAIN, b"a") != piece_id(new_id(), b"a")


def test_a_missing_piece_is_named() -> None:
    gone = UUID(int=7)
    with pytest.raises(MissingPiece, match=str(gone)):
        join(Split([b"{", b"}"], [b"x"]).layout([gone]), {})


def test_a_body_made_to_be_searched_for_ever_is_not() -> None:
    """The first message stands in `metadata` too, and the system prompt before the messages: none of it is found."""
    first = json.dumps(message(LONG)).encode()
    blocks = b",".join(b'{"type":"text","text":"%06d%s"}' % (number, LONG.encode()) for number in range(3000))
    tail = b"z" * 8_000_000
    raw = b'{"metadata":%s,"system":[%s],"messages":[%s],"note":"%s"}' % (first, blocks, first, tail)
    began = time.process_time()
    assert rebuilt(raw) == raw
    assert time.process_time() - began < 2, "it took minutes"
