"""A message as it would have come without streaming, rebuilt from the events of its stream.

Does what the accumulators of the official SDKs do, and more where they differ (facts/claude-api.md 4.12).
"""

from collections.abc import Callable
from typing import Any

import msgspec

from telemetry.record.sse import SSEDecoder, SSEEvent

UNPARSED_INPUT = "partial_json"
"""The key under which a tool block keeps an input that is not valid JSON, as it came (facts 4.13). Its `input`
then stays what the block started with, `{}`. No block of the API has a key of this name."""

_UNREADABLE = (ValueError, RecursionError)


def message_from_stream(raw: bytes) -> dict[str, Any] | None:
    """The message of a whole or broken stream; None where not even its start came."""
    builder = MessageBuilder()
    for event in SSEDecoder().feed(raw):
        builder.add(event)
    return builder.message


class MessageBuilder:
    """Takes the events of one stream in order. What it does not know it passes over; it never raises."""

    def __init__(self) -> None:
        self.error: dict[str, Any] | None = None
        """The `error` object of a mid-stream error event: `type`, `message`."""
        self._message: dict[str, Any] | None = None
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}

    @property
    def message(self) -> dict[str, Any] | None:
        """The message so far, None before its start. Each call makes a new dict."""
        if self._message is None:
            return None
        content = [block.build() for _, block in sorted(self._blocks.items())]
        return {**self._message, "content": content, "usage": dict(self._usage)}

    def add(self, event: SSEEvent) -> None:
        data = _object(_decoded(event.data))
        kind = event.name or _text(data.get("type")).encode()
        handle = _HANDLERS.get(kind)
        if handle is not None:
            handle(self, data)

    def _start_message(self, data: dict[str, Any]) -> None:
        message = data.get("message")
        if self._message is None and isinstance(message, dict):
            self._message = message
            self._usage = dict(_object(message.get("usage")))

    def _start_block(self, data: dict[str, Any]) -> None:
        index, block = data.get("index"), data.get("content_block")
        if not isinstance(index, int) or not isinstance(block, dict):
            return
        self._blocks[index] = _Block(block)
        if block.get("type") == "fallback" and self._message is not None:
            model = _object(block.get("to")).get("model")
            self._message["model"] = model or self._message.get("model")

    def _extend_block(self, data: dict[str, Any]) -> None:
        index = data.get("index")
        block = self._blocks.get(index) if isinstance(index, int) else None
        if block is not None:
            block.extend(_object(data.get("delta")))

    def _update_message(self, data: dict[str, Any]) -> None:
        """Overlays what is not null in `usage`, in `delta`, and beside them, such as `context_management`."""
        if self._message is None:
            return
        self._usage |= _without_nulls(_object(data.pop("usage", None)))
        changes = _without_nulls(_object(data.pop("delta", None)) | data)
        changes.pop("type", None)
        self._message |= changes

    def _keep_error(self, data: dict[str, Any]) -> None:
        self.error = _object(data.get("error"))


_HANDLERS: dict[bytes, Callable[[MessageBuilder, dict[str, Any]], None]] = {
    b"message_start": MessageBuilder._start_message,
    b"content_block_start": MessageBuilder._start_block,
    b"content_block_delta": MessageBuilder._extend_block,
    b"message_delta": MessageBuilder._update_message,
    b"error": MessageBuilder._keep_error,
}


class _Block:
    """A content block as it started, and the deltas that came to it (facts 4.4)."""

    def __init__(self, start: dict[str, Any]) -> None:
        self._block = start
        # Pieces are joined once, at the end: adding strings up would take time in the square of their number.
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._input: list[str] = []
        self._citations: list[Any] = []

    def extend(self, delta: dict[str, Any]) -> None:
        """Goes by the type of the delta alone, which serves types of blocks that are yet to come."""
        match delta:
            case {"type": "text_delta", "text": str(text)}:
                self._text.append(text)
            case {"type": "thinking_delta", "thinking": str(thinking)}:
                self._thinking.append(thinking)
            case {"type": "input_json_delta", "partial_json": str(piece)}:
                self._input.append(piece)
            case {"type": "citations_delta", "citation": citation}:
                self._citations.append(citation)
            case {"type": "signature_delta", "signature": signature}:
                self._block["signature"] = signature
            case {"type": "compaction_delta"}:
                self._block["content"] = delta.get("content")
                self._block["encrypted_content"] = delta.get("encrypted_content")

    def build(self) -> dict[str, Any]:
        block = dict(self._block)
        if self._text:
            block["text"] = _text(block.get("text")) + "".join(self._text)
        if self._thinking:
            block["thinking"] = _text(block.get("thinking")) + "".join(self._thinking)
        if self._citations:
            block["citations"] = [*_list(block.get("citations")), *self._citations]
        if raw := "".join(self._input):
            try:
                block["input"] = msgspec.json.decode(raw)
            except _UNREADABLE:
                block[UNPARSED_INPUT] = raw
        return block


def _without_nulls(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _decoded(data: bytes) -> object:
    try:
        return msgspec.json.decode(data)
    except _UNREADABLE:
        return None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
