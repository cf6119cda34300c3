"""What an answer used: the fact, and how an answer's successive reports make it up. No prices here."""

import math
from enum import StrEnum
from typing import Annotated

import msgspec

CHARACTERS_PER_TOKEN = 4
"""As Anthropic's own gateway estimates (facts/claude-api.md 4.15)."""
COUNT_MAX = 2**31 - 1
"""What an integer column holds. A larger number is no count, and is passed over."""


class UsageSource(StrEnum):
    """Where the output tokens of a usage come from."""

    FINAL = "final"
    """The API's last word."""
    DRAINED = "drained"
    """The API's last word too, but only read because the stream was read on after the client had left."""
    ESTIMATED = "estimated"
    """The last word never came: input as first reported, output from the characters that did come."""
    NONE = "none"
    """Nothing that is billed was seen."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens in the five kinds that have prices of their own, and uses of the API's own tools."""

    input_tokens: int = 0
    """Without those read from the cache or written to it."""
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    web_search_requests: int = 0
    web_fetch_requests: int = 0
    code_execution_requests: int = 0
    raw: bytes = b""
    """The API's usage object as JSON; of a stream, its reports laid over each other; empty where none came.
    Only here are `iterations`: the counters are those of the top level (facts 4.14)."""
    source: UsageSource = UsageSource.NONE


class UsageReports:
    """The usage objects of one answer, in the order in which they came; never raises.

    Reports are cumulative: they are laid over each other, never added (facts 4.9). Of each counter the
    maximum counts, so that no poorer report takes back what another has stated.
    """

    def __init__(self) -> None:
        self._merged: dict[str, msgspec.Raw] = {}
        self._peaks: dict[str, int] = {}
        self._placeholder = 0
        self._output: int | None = None

    def begin(self, report: msgspec.Raw) -> None:
        """Takes the report of `message_start`, whose output is only a placeholder (facts 4.10)."""
        self._placeholder = self._lay_over(report).get("output_tokens", 0)

    def update(self, report: msgspec.Raw) -> None:
        """Takes the report of a `message_delta`, or of an answer that is not a stream."""
        output = self._lay_over(report).get("output_tokens")
        if output is not None:
            self._output = max(output, self._output or 0)

    def total(self, *, visible_characters: int = 0, drained: bool = False) -> Usage:
        """What was used. *visible_characters* ground the estimate, which hidden thinking makes low."""
        source = self._source(visible_characters, drained)
        estimate = max(self._placeholder, math.ceil(visible_characters / CHARACTERS_PER_TOKEN))
        write_5m, write_1h = self._cache_writes()
        peak = self._peaks.get
        return Usage(
            input_tokens=peak("input_tokens", 0),
            output_tokens=estimate if self._output is None else self._output,
            cache_read_tokens=peak("cache_read_input_tokens", 0),
            cache_write_5m_tokens=write_5m,
            cache_write_1h_tokens=write_1h,
            web_search_requests=peak("web_search_requests", 0),
            web_fetch_requests=peak("web_fetch_requests", 0),
            code_execution_requests=peak("code_execution_requests", 0),
            raw=_encoded(self._merged) if self._merged else b"",
            source=source,
        )

    def _lay_over(self, report: msgspec.Raw) -> dict[str, int]:
        """Returns the counters of this report alone."""
        fields = _object(report)
        counts = _counts(fields)
        if not counts:
            return counts  # not a usage as we know it: nothing to bill, nothing to keep
        if self._merged:
            fields = {name: value for name, value in fields.items() if value != _NULL}
        self._merged |= fields
        for name, count in counts.items():
            self._peaks[name] = max(count, self._peaks.get(name, 0))
        return counts

    def _source(self, visible_characters: int, drained: bool) -> UsageSource:
        if self._output is not None:
            return UsageSource.DRAINED if drained else UsageSource.FINAL
        return UsageSource.ESTIMATED if self._merged or visible_characters else UsageSource.NONE

    def _cache_writes(self) -> tuple[int, int]:
        """Tokens for 5 minutes and for 1 hour. A `message_delta` can raise the total but has no split: then the
        iterations may have it, else what `message_start` did not split counts as 5 minutes (facts 4.14 g)."""
        total = self._peaks.get("cache_creation_input_tokens", 0)
        write_5m = self._peaks.get("ephemeral_5m_input_tokens", 0)
        write_1h = self._peaks.get("ephemeral_1h_input_tokens", 0)
        if total <= write_5m + write_1h:
            return write_5m, write_1h
        split = _split_by_iterations(self._merged.get("iterations", _NULL), total)
        return split or (total - write_1h, write_1h)


_Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]


class _Split(msgspec.Struct):
    ephemeral_5m_input_tokens: _Count = 0
    ephemeral_1h_input_tokens: _Count = 0


class _Iteration(msgspec.Struct):
    type: str = ""
    cache_creation: _Split | None = None


_NULL = msgspec.Raw(b"null")
_GROUPS = {
    "cache_creation": ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"),
    "server_tool_use": ("web_search_requests", "web_fetch_requests", "code_execution_requests"),
}
_TOKENS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_integer: msgspec.json.Decoder[int] = msgspec.json.Decoder(_Count)
_iterations = msgspec.json.Decoder(list[_Iteration])


def _counts(fields: dict[str, msgspec.Raw]) -> dict[str, int]:
    """The counters of a usage object that are counts; each is read alone, so a bad one costs no other."""
    found = {name: fields[name] for name in _TOKENS if name in fields}
    for group, names in _GROUPS.items():
        if group in fields:
            values = _object(fields[group])
            found |= {name: values[name] for name in names if name in values}
    return {name: count for name, raw in found.items() if (count := _count(raw)) is not None}


def _count(raw: msgspec.Raw) -> int | None:
    try:
        count: int = _integer.decode(raw)
        return count
    except (ValueError, RecursionError):
        return None


def _object(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    try:
        return _fields.decode(raw)
    except (ValueError, RecursionError):
        return {}


def _encoded(fields: dict[str, msgspec.Raw]) -> bytes:
    """Always valid UTF-8, which raw values need not be."""
    return msgspec.json.encode(fields).decode(errors="replace").encode()


def _split_by_iterations(raw: msgspec.Raw, total: int) -> tuple[int, int] | None:
    """The split of the iterations that the top level describes: those that add up to its total."""
    try:
        iterations = _iterations.decode(raw)
    except (ValueError, RecursionError):
        return None
    for kind in ("message", "fallback_message"):
        splits = [entry.cache_creation for entry in iterations if entry.type == kind and entry.cache_creation]
        write_5m = sum(split.ephemeral_5m_input_tokens for split in splits)
        write_1h = sum(split.ephemeral_1h_input_tokens for split in splits)
        if write_5m + write_1h == total:
            return write_5m, write_1h
    return None
