"""What the results of a message batch say of its usage while they pass: JSON lines, up to 100,000 of them and hundreds
of megabytes. A line is held until it ends, and of what it says only sums stay."""

import re
from collections.abc import Sequence
from typing import Annotated

import msgspec

from proxy.meter import REFUSAL, Metered, meter_json
from telemetry.money.charges import COUNTS, FAST, US, Charge, Terms, added_up, charges_of, step_of
from telemetry.record.exchange import BatchResults
from telemetry.record.usage import COUNT_MAX, UsageSource

MAX_LINE_BYTES = 16 * 1024 * 1024
"""The longest possible answer is a small part of it."""
MAX_TERMS = 1000
"""Of how many kinds of charges sums are kept: models are a few, their names come from outside."""
MODEL_LENGTH = 200
BATCHES_PATH = "/v1/messages/batches"
FREE = frozenset({"errored", "canceled", "expired"})
"""Results that cost nothing (facts/claude-api.md 4.14 i)."""
_RESULTS_PATH = re.compile(rf"{BATCHES_PATH}/([^/]+)/results")


def batch_of_results(method: str, path: str) -> str:
    """The id of the batch whose results are asked for; empty for any other request."""
    match = _RESULTS_PATH.fullmatch(path) if method == "GET" else None
    return match[1] if match else ""


class BatchMeter:
    """For the results of a batch. Never raises, like any meter. A line takes about 2 µs, and 1 µs for each 2 KB."""

    is_cut = False

    def __init__(self, batch_id: str, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._batch_id = batch_id
        self._max_line_bytes = max_line_bytes
        self._pending = bytearray()
        self._is_too_long = False
        self._counts = {"succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
        self._unreadable = 0
        self._sums: dict[_Key, list[int]] = {}

    def feed(self, chunk: bytes) -> None:
        end, *lines = chunk.split(b"\n")
        self._hold(end)
        if lines:
            self._end_line()
            for line in lines[:-1]:
                self._read(line)
            self._hold(lines[-1])

    def finish(self, *, drained: bool = False) -> Metered:
        self._end_line()
        results = BatchResults(
            charges=tuple(added_up(charge for key, sums in self._sums.items() if (charge := _charge(key, sums)))),
            unreadable=self._unreadable,
            **self._counts,
        )
        return Metered(batch_id=self._batch_id, batch_results=results)

    def _hold(self, part: bytes) -> None:
        """Of a line that is too long nothing is held."""
        self._is_too_long = self._is_too_long or len(self._pending) + len(part) > self._max_line_bytes
        if self._is_too_long:
            self._pending.clear()
        else:
            self._pending += part

    def _end_line(self) -> None:
        if self._is_too_long:
            self._unreadable += 1
        else:
            self._read(bytes(self._pending))
        self._is_too_long = False
        self._pending.clear()

    def _read(self, line: bytes) -> None:
        if len(line) > self._max_line_bytes:
            self._unreadable += 1
            return
        try:
            result = _plain_line.decode(line).result
        except (ValueError, RecursionError):
            self._read_carefully(line)
            return
        message = result.message
        if result.type == "succeeded" and message is not None and message.is_plain:
            self._counts["succeeded"] += 1
            self._add(*message.charged())
        elif result.type in FREE:
            self._counts[result.type] += 1
        else:
            self._read_carefully(line)

    def _read_carefully(self, line: bytes) -> None:
        """A line that is less common, or odd: its message is read as any answer of the API is."""
        if not line.strip():
            return
        kind, charges = _result(line)
        if charges is None:
            self._unreadable += 1
            return
        self._counts[kind] += 1
        for charge in charges:
            terms = charge.terms
            key = (terms.model, terms.is_fast, terms.is_us, terms.prompt_over)
            self._add(key, [getattr(charge, name) for name in COUNTS])

    def _add(self, key: "_Key", counts: Sequence[int]) -> None:
        sums = self._sums.get(key)
        if sums is None:
            if len(self._sums) >= MAX_TERMS:
                self._unreadable += 1
                return
            sums = self._sums[key] = [0] * len(COUNTS)
        for index, count in enumerate(counts):
            sums[index] += count


_Key = tuple[str, bool, bool, int]
"""Model, fast, US, step of the prompt: the terms of a charge as they stand before the batch's own."""


def _charge(key: _Key, sums: Sequence[int]) -> Charge:
    """At the terms of a batch, whatever tier its lines name."""
    model, is_fast, is_us, prompt_over = key
    model = model.replace("\0", "")[:MODEL_LENGTH]
    terms = Terms(model=model, is_fast=is_fast, is_us=is_us, is_batch=True, prompt_over=prompt_over)
    return Charge(terms=terms, **dict(zip(COUNTS, sums, strict=True)))


def _result(line: bytes) -> tuple[str, list[Charge] | None]:
    """Its type, and what is billed; None for a line that cannot be read, or of a type that is not known."""
    try:
        result = _line.decode(line).result
    except (ValueError, RecursionError):
        return "", None
    if result.type == "succeeded":
        return result.type, _charges(result.message)
    return result.type, [] if result.type in FREE else None


def _charges(message: msgspec.Raw) -> list[Charge] | None:
    """None where the usage, or its last word, cannot be read: that is not free."""
    metered = meter_json(message)
    usage = metered.usage
    if usage.source is not UsageSource.FINAL:
        return None
    return charges_of(
        _Used(
            answered_model=metered.model,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_5m_tokens=usage.cache_write_5m_tokens,
            cache_write_1h_tokens=usage.cache_write_1h_tokens,
            web_search_requests=usage.web_search_requests,
            usage=usage.raw.decode(),
            usage_source=usage.source.value,
            is_declined=metered.is_declined,
            refusals=",".join(metered.refusals),
        )
    )


class _Used(msgspec.Struct, frozen=True, kw_only=True):
    """`telemetry.money.charges.Used`, of one line."""

    model: str = ""
    answered_model: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    web_search_requests: int
    usage: str
    usage_source: str
    is_declined: bool
    refusals: str


_Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]
_NULL = msgspec.Raw(b"null")


class _Result(msgspec.Struct):
    type: str
    message: msgspec.Raw = _NULL


class _Line(msgspec.Struct):
    result: _Result


# What nearly every line is, decoded in one go: a fifth of the time. Whatever does not fit goes the careful way, and a
# property test holds both to the same figures.


class _PlainWrites(msgspec.Struct, gc=False):
    ephemeral_5m_input_tokens: _Count = 0
    ephemeral_1h_input_tokens: _Count = 0


class _PlainTools(msgspec.Struct, gc=False):
    web_search_requests: _Count = 0


class _PlainUsage(msgspec.Struct, gc=False):
    output_tokens: _Count
    input_tokens: _Count = 0
    cache_read_input_tokens: _Count | None = 0
    cache_creation_input_tokens: _Count | None = 0
    cache_creation: _PlainWrites | None = None
    server_tool_use: _PlainTools | None = None
    speed: str | None = None
    inference_geo: str | None = None
    iterations: None = None


_NO_WRITES, _NO_TOOLS = _PlainWrites(), _PlainTools()


class _PlainMessage(msgspec.Struct, gc=False):
    type: str
    model: str
    usage: _PlainUsage
    stop_reason: str | None = None

    @property
    def is_plain(self) -> bool:
        return self.type == "message" and self.stop_reason != REFUSAL

    def charged(self) -> tuple[_Key, tuple[int, ...]]:
        """In the order of COUNTS."""
        usage = self.usage
        split, tools = usage.cache_creation or _NO_WRITES, usage.server_tool_use or _NO_TOOLS
        write_1h = split.ephemeral_1h_input_tokens
        written = max(usage.cache_creation_input_tokens or 0, split.ephemeral_5m_input_tokens + write_1h)
        fresh, read = usage.input_tokens, usage.cache_read_input_tokens or 0
        key = (
            self.model,
            usage.speed == FAST,
            usage.inference_geo == US,
            step_of(fresh + read + written),
        )
        return key, (fresh, usage.output_tokens, read, written - write_1h, write_1h, tools.web_search_requests)


class _PlainResult(msgspec.Struct, gc=False):
    type: str
    message: _PlainMessage | None = None


class _PlainLine(msgspec.Struct, gc=False):
    result: _PlainResult


_line = msgspec.json.Decoder(_Line)
_plain_line = msgspec.json.Decoder(_PlainLine)
