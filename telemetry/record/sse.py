"""Server-sent events out of bytes that come in any pieces (WHATWG HTML 9.2.6; facts/claude-api.md 4.1, 4.17).
No I/O, and no view on what the events mean."""

import re

import msgspec

MAX_PENDING_BYTES = 16 * 1024 * 1024

_LINE_END = rb"(?:\r\n|\r(?!\n)|\n)"
_EMPTY_LINE = re.compile(_LINE_END + rb"(?:\r\n|\r|\n)")


class SSEEvent(msgspec.Struct, frozen=True, gc=False):
    """One dispatched event, as the bytes it had on the wire."""

    name: bytes
    """Empty where there was no `event` line."""
    data: bytes
    """The values of all `data` lines, joined by line feeds."""


class SSEDecoder:
    """Takes chunks and returns the events that each of them completes; never raises.

    *max_pending_bytes* bounds what is kept of an event that has not ended yet. Beyond it the decoder is
    `lost`: it forgets what it holds and returns nothing more.
    """

    def __init__(self, max_pending_bytes: int = MAX_PENDING_BYTES) -> None:
        self.lost = False
        self._max_pending_bytes = max_pending_bytes
        self._pending = bytearray()

    @property
    def is_mid_event(self) -> bool:
        """Whether an event has begun and not ended. At the end of a stream such an event is void."""
        return any(line and not line.startswith(b":") for line in bytes(self._pending).splitlines())

    def feed(self, chunk: bytes) -> list[SSEEvent]:
        # Nearly every chunk is one event in the API's own form, which this takes in less than half the time.
        if (
            chunk.endswith(b"\n\n")
            and chunk.startswith(b"event: ")
            and not self._pending
            and chunk.count(b"\n") == 3
            and b"\r" not in chunk
            and not self.lost
        ):
            event, separator, data = chunk.partition(b"\ndata: ")
            if separator:
                return [SSEEvent(event[7:], data[:-2])]
        return self._feed_any(chunk)

    def _feed_any(self, chunk: bytes) -> list[SSEEvent]:
        if self.lost:
            return []
        pending = self._pending
        start = 0
        search_from = max(0, len(pending) - 1)  # the last line may have ended just there
        pending += chunk
        events = []
        while match := _EMPTY_LINE.search(pending, search_from):
            event = _parse(bytes(pending[start : match.end()]))
            if event is not None:
                events.append(event)
            start = search_from = match.end()
        del pending[:start]
        if len(pending) > self._max_pending_bytes:
            self.lost = True
            pending.clear()
        return events


def _parse(block: bytes) -> SSEEvent | None:
    """The event of a block of whole lines; None where no line of it carries data."""
    name, data = b"", []
    for line in block.splitlines():
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return SSEEvent(name, b"\n".join(data)) if data else None
