import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from telemetry.record.sse import SSEDecoder, SSEEvent
from tests.streams import STREAMS


def events_of(*chunks: bytes) -> list[SSEEvent]:
    decoder = SSEDecoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def by_the_book(stream: bytes) -> list[SSEEvent]:
    """WHATWG HTML 9.2.6 word for word, over the whole stream at once."""
    events, name, data = [], b"", b""
    *lines, _unterminated = re.split(rb"\r\n|\r|\n", stream)
    for line in lines:
        field, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if not line:
            if data:
                events.append(SSEEvent(name, data[:-1]))
            name, data = b"", b""
        elif field == b"event":
            name = value
        elif field == b"data":
            data += value + b"\n"
    return events


TOKENS = st.sampled_from(
    [
        *(b"event", b"data", b"id", b":", b": ", b" ", b"x", b"\n", b"\r", b"\r\n", b"\n\n"),
        *(b"event: a\ndata: {}\n\n", b"event: a\ndata: ", b"\ndata:"),
        *(b"\0", b"\xff", b"\x85", b"\xe2\x80\xa8"),
    ]
)
CHUNKS = st.lists(st.lists(TOKENS, max_size=6).map(b"".join), max_size=12)


def test_it_returns_an_event_as_soon_as_its_blank_line_is_there() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b'event: ping\ndata: {"type": "ping"}\n') == []
    assert decoder.feed(b"\n") == [SSEEvent(b"ping", b'{"type": "ping"}')]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_it_takes_every_kind_of_line_end(end: bytes) -> None:
    stream = end.join([b"event: a", b"data: 1", b"", b"event: b", b"data: 2", b"", b""])
    assert events_of(stream) == [SSEEvent(b"a", b"1"), SSEEvent(b"b", b"2")]


def test_it_joins_several_lines_of_data() -> None:
    assert events_of(b"data: a\ndata:\ndata: b\n\n") == [SSEEvent(b"", b"a\n\nb")]


def test_it_takes_one_space_off_a_value_and_no_more() -> None:
    assert events_of(b"event:a\ndata:  b \n\n") == [SSEEvent(b"a", b" b ")]
    assert events_of(b"event:  a\ndata:  b \n\n") == [SSEEvent(b" a", b" b ")]


def test_it_passes_over_comments_and_unknown_fields() -> None:
    assert events_of(b": keep alive\n\nid: 7\nmood: good\ndata: x\nretry: 10\n\n") == [SSEEvent(b"", b"x")]


def test_it_does_not_dispatch_an_event_without_data() -> None:
    assert events_of(b"event: a\n\ndata: b\n\n") == [SSEEvent(b"", b"b")]
    assert events_of(b"data\n\n") == [SSEEvent(b"", b"")]


def test_it_does_not_dispatch_an_unterminated_event_but_tells_of_it() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\n\nevent: b\ndata: c\n") == [SSEEvent(b"", b"a")]
    assert decoder.is_mid_event
    decoder.feed(b"\n")
    assert not decoder.is_mid_event


@pytest.mark.parametrize("rest", [b"", b"\n", b"\r", b": only a comment", b": one\n"])
def test_it_is_not_mid_event_between_events(rest: bytes) -> None:
    decoder = SSEDecoder()
    decoder.feed(b"data: a\n\n" + rest)
    assert not decoder.is_mid_event


def test_it_gives_up_on_an_event_beyond_its_bound_and_stays_silent() -> None:
    decoder = SSEDecoder(max_pending_bytes=20)
    assert decoder.feed(b"data: " + b"x" * 14) == []
    assert not decoder.lost
    assert decoder.feed(b"x") == []
    assert decoder.lost
    assert decoder.feed(b"\n\n") == []
    assert decoder.feed(b"event: a\ndata: b\n\n") == []
    assert not decoder.is_mid_event


def test_it_counts_only_what_has_not_ended_against_its_bound() -> None:
    decoder = SSEDecoder(max_pending_bytes=20)
    for _ in range(5):
        assert len(decoder.feed(b"data: 123456\n\ndata: 123456\n\n")) == 2
    assert not decoder.lost


@pytest.mark.parametrize("name", STREAMS)
def test_it_returns_the_same_events_wherever_a_stream_is_cut(name: str) -> None:
    stream = STREAMS[name]
    expected = by_the_book(stream)
    assert len(expected) > 3
    for cut in range(len(stream) + 1):
        assert events_of(stream[:cut], stream[cut:]) == expected


@pytest.mark.parametrize("name", STREAMS)
def test_it_returns_the_same_events_byte_by_byte(name: str) -> None:
    stream = STREAMS[name]
    assert events_of(*(stream[i : i + 1] for i in range(len(stream)))) == by_the_book(stream)


@given(name=st.sampled_from(sorted(STREAMS)), cuts=st.lists(st.integers(0, 3000), max_size=40))
def test_it_returns_the_same_events_in_any_pieces(name: str, cuts: list[int]) -> None:
    stream = STREAMS[name]
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert events_of(*(stream[start:end] for start, end in pairwise(edges))) == by_the_book(stream)


@given(CHUNKS)
@example([b"event: a\rdata: 1\ndata: 2\n\n"])
@example([b"data: 1\n", b"event: a\ndata: 2\n\n"])
@example([b"data: 1\r", b"\ndata: 2\r\n\r", b"\nevent: a\ndata: 3\n\n"])
def test_it_goes_by_the_book_for_any_bytes_in_any_pieces(chunks: list[bytes]) -> None:
    assert events_of(*chunks) == by_the_book(b"".join(chunks))
