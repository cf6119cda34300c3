"""The first words of what was asked and of what was answered, for lists and for search."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

PREVIEW_LENGTH = 200
CLEANED_LENGTH = 20 * PREVIEW_LENGTH
LOOKED_AT_MAX_BYTES = 20_000
"""Of one message, and of an answer: a preview is not worth reading megabytes for."""
REMINDER = "<system-reminder>"
"""Claude Code wraps what it tells the model about its surroundings; that is not what the user said."""
Clean = Callable[[str], str] | None
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Message(msgspec.Struct):
    role: str
    content: msgspec.Raw


class _Piece(msgspec.Struct, frozen=True):
    type: str = ""
    text: str = ""
    name: str = ""


class _Event(msgspec.Struct):
    delta: _Piece = _Piece()
    content_block: _Piece = _Piece()


_event = msgspec.json.Decoder(_Event)
_message = msgspec.json.Decoder(_Message)


def request_preview(messages: Sequence[msgspec.Raw], clean: Clean = None) -> str:
    """The newest text of the user; empty where there is none. `clean` sees it before it is cut: half a secret would be
    recognised by nobody."""
    for raw in reversed(messages):
        if text := _user_text(raw, clean):
            return text
    return ""


def _user_text(raw: msgspec.Raw, clean: Clean) -> str:
    if len(memoryview(raw)) > LOOKED_AT_MAX_BYTES:
        return ""
    try:
        message = _message.decode(raw)
        return first_text(msgspec.json.decode(message.content), clean) if message.role == "user" else ""
    except _UNREADABLE:
        return ""


def response_preview(body: bytes, clean: Clean = None) -> str:
    """The first text of an answer, or the name of the tool that it calls."""
    head = body[:LOOKED_AT_MAX_BYTES]
    if head.lstrip()[:1] == b"{":
        try:
            answer = msgspec.json.decode(body) if len(body) <= LOOKED_AT_MAX_BYTES else {}
        except _UNREADABLE:
            return ""
        return first_text(answer.get("content"), clean)
    return _stream_text(head, clean)


def _stream_text(head: bytes, clean: Clean) -> str:
    """Reads line by line and stops early: decoding the whole stream would cost more than storing it."""
    text, tool = "", ""
    for line in head.splitlines():
        if not (line.startswith(b"data:") and (b'"text"' in line or b'"tool_use"' in line)):
            continue
        try:
            event = _event.decode(line[5:])
        except _UNREADABLE:
            continue
        text += event.delta.text + event.content_block.text
        if event.content_block.type == "tool_use" and not tool:
            tool = f"[{event.content_block.name}]"
        if len(text) >= (CLEANED_LENGTH if clean else 2 * PREVIEW_LENGTH):
            break
    return shortened(text, clean) or shortened(tool)


def first_text(content: Any, clean: Clean = None) -> str:
    """Of the content of a message: a string, or a list of blocks."""
    if isinstance(content, str):
        return "" if content.lstrip().startswith(REMINDER) else shortened(content, clean)
    tool = ""
    for block in content if isinstance(content, list) else ():
        match block:
            case {"type": "text", "text": str(text)} if not text.lstrip().startswith(REMINDER):
                if found := shortened(text, clean):
                    return found
            case {"type": "tool_use", "name": str(name)}:
                tool = tool or f"[{name}]"
    return shortened(tool)


def shortened(text: str, clean: Clean = None) -> str:
    """On one line, and as a column takes it: PostgreSQL refuses NUL, and lone surrogates are not text."""
    looked_at = clean(text[:CLEANED_LENGTH]) if clean else text[: 4 * PREVIEW_LENGTH]
    line = " ".join(looked_at.replace("\0", "").split())
    return line.encode("utf-8", "replace").decode()[:PREVIEW_LENGTH]
