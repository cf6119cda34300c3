"""Where an exchange stands in a trace: read from a client's `traceparent`, or begun here (W3C Trace Context, level 1).
No Django and no OpenTelemetry: this runs on the event loop."""

import random
import re

import msgspec

TRACE_HEADERS = frozenset({b"traceparent", b"tracestate", b"baggage"})
_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.DOTALL)
_NO_TRACE, _NO_SPAN = b"0" * 32, b"0" * 16
_OF_VERSION_0_BYTES = 55
_STATE = re.compile(rb"[ -~]{1,512}")
"""Longer ones need not be passed on, and what is no printable ASCII is none."""
_LOW_64 = (1 << 64) - 1


class Trace(msgspec.Struct, frozen=True, omit_defaults=True):
    """Ids in lower-case hex."""

    trace_id: str
    span_id: str
    """Of the exchange."""
    parent_id: str = ""
    """Of the client's span; empty where the trace begins here."""
    is_sampled: bool = True
    state: str = ""
    """The client's `tracestate`, as it came."""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """For the API: the exchange's span is the parent of what it does."""
        flags = "01" if self.is_sampled else "00"
        parent = (b"traceparent", f"00-{self.trace_id}-{self.span_id}-{flags}".encode())
        return [parent, (b"tracestate", self.state.encode("latin-1"))] if self.state else [parent]


def trace_of(parents: list[bytes], states: list[bytes], *, ratio: float, follows_parent: bool) -> Trace:
    """Goes on with the client's trace, or begins one where the client has none or says something else."""
    span_id = f"{random.getrandbits(64) or 1:016x}"
    parsed = _parsed(parents[0]) if len(parents) == 1 else None
    if parsed is None:
        trace_id = random.getrandbits(128) or 1
        return Trace(f"{trace_id:032x}", span_id, is_sampled=_is_in(trace_id, ratio))
    trace_id_hex, parent_id, sampled = parsed
    is_sampled = sampled if follows_parent else _is_in(int(trace_id_hex, 16), ratio)
    state = b",".join(states)
    return Trace(trace_id_hex, span_id, parent_id, is_sampled, state.decode() if _STATE.fullmatch(state) else "")


def _parsed(header: bytes) -> tuple[str, str, bool] | None:
    header = header.strip()
    found = _PARENT.fullmatch(header)
    if found is None or (header.startswith(b"00") and len(header) != _OF_VERSION_0_BYTES):
        return None
    trace_id, parent_id, flags = found.groups()
    if trace_id == _NO_TRACE or parent_id == _NO_SPAN:
        return None
    return trace_id.decode(), parent_id.decode(), bool(int(flags, 16) & 1)


def _is_in(trace_id: int, ratio: float) -> bool:
    """As OpenTelemetry's ratio sampler decides, so that all services of a trace decide alike."""
    return (trace_id & _LOW_64) < round(ratio * (_LOW_64 + 1))
