"""What becomes of a client's traceparent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.traces.context import Trace, trace_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01".encode()


def begun(*parents: bytes, states: tuple[bytes, ...] = (), ratio: float = 1.0, follows_parent: bool = True) -> Trace:
    return trace_of(list(parents), list(states), ratio=ratio, follows_parent=follows_parent)


def test_a_client_s_trace_goes_on() -> None:
    trace = begun(PARENT, states=(b"congo=t61rcWkgMzE", b"rojo=00f067aa0ba902b7"))
    assert (trace.trace_id, trace.parent_id, trace.is_sampled) == (TRACE, SPAN, True)
    assert trace.span_id not in (SPAN, "")
    assert trace.state == "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"
    assert trace.headers() == [
        (b"traceparent", f"00-{TRACE}-{trace.span_id}-01".encode()),
        (b"tracestate", b"congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"),
    ]


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"nonsense",
        PARENT.upper(),
        PARENT[:-1],
        PARENT + b"0",
        PARENT + b"-more",  # version 00 has no more
        b"ff" + PARENT[2:],
        PARENT.replace(TRACE.encode(), b"0" * 32),
        PARENT.replace(SPAN.encode(), b"0" * 16),
        PARENT.replace(b"a", b"g"),
    ],
)
def test_a_traceparent_that_is_none_is_passed_over(parent: bytes) -> None:
    trace = begun(parent, states=(b"congo=1",))
    assert trace.trace_id != TRACE
    assert (trace.parent_id, trace.state) == ("", "")


def test_two_traceparents_are_none() -> None:
    assert begun(PARENT, PARENT).parent_id == ""


def test_a_later_version_may_say_more() -> None:
    assert begun(b"01" + PARENT[2:] + b"-whatever").trace_id == TRACE


@pytest.mark.parametrize(("flags", "follows", "ratio", "sampled"), [
    (b"01", True, 0.0, True),
    (b"00", True, 1.0, False),
    (b"03", True, 0.0, True),
    (b"01", False, 0.0, False),
    (b"00", False, 1.0, True),
])  # fmt: skip
def test_who_says_whether_it_is_sampled(flags: bytes, follows: bool, ratio: float, sampled: bool) -> None:
    assert begun(PARENT[:-2] + flags, ratio=ratio, follows_parent=follows).is_sampled is sampled


def test_a_share_of_the_traces_that_begin_here_is_sampled() -> None:
    sampled = sum(begun(ratio=0.25).is_sampled for _ in range(4000))
    assert 800 < sampled < 1200  # 25 %, seven standard deviations either way
    assert not any(begun(ratio=0.0).is_sampled for _ in range(100))
    assert all(begun(ratio=1.0).is_sampled for _ in range(100))


@pytest.mark.parametrize("state", [b"a=\x00", b"a=" + b"x" * 600, "a=é".encode()])
def test_a_tracestate_that_is_none_is_left_out(state: bytes) -> None:
    trace = begun(PARENT, states=(state,))
    assert trace.trace_id == TRACE
    assert [name for name, _ in trace.headers()] == [b"traceparent"]


@given(st.binary(max_size=80))
def test_nothing_that_a_client_sends_makes_it_fail(junk: bytes) -> None:
    trace = begun(junk, states=(junk,))
    assert len(trace.trace_id) == 32
    assert len(trace.span_id) == 16
