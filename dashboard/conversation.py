"""A request and its answer as a conversation: blocks in order, cut where a page would suffer. It knows the shapes of
the Messages API (facts 2 and 4) and shows what it does not know as JSON; nothing that a client sends makes it fail."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

TURNS_MAX = 60
"""The newest; an agent resends its whole history with each request."""
BLOCKS_MAX = 100
"""Of a turn."""
TEXT_MAX_CHARACTERS = 20_000
"""Of a block."""
ALL_MAX_CHARACTERS = 300_000
IMAGE_MAX_CHARACTERS = 2_000_000
FOLDED_FROM_CHARACTERS = 1_500
IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
DEPTH_MAX = 3
"""Of blocks within tool results."""


@dataclass(frozen=True, slots=True)
class Block:
    kind: str
    """`text`, `thinking`, `tool_use`, `tool_result`, `image`, `other`."""
    title: str = ""
    text: str = ""
    left_out: int = 0
    """Characters that are not shown."""
    blocks: tuple["Block", ...] = ()
    is_error: bool = False
    image: str = ""
    """A data address."""

    @property
    def is_long(self) -> bool:
        return len(self.text) + sum(len(block.text) for block in self.blocks) > FOLDED_FROM_CHARACTERS


@dataclass(frozen=True, slots=True)
class Turn:
    role: str
    blocks: tuple[Block, ...]
    left_out: int = 0
    """Blocks that are not shown."""


@dataclass(frozen=True, slots=True)
class Conversation:
    system: tuple[Block, ...] = ()
    tools: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()
    earlier: int = 0
    """Turns that are not shown."""


@dataclass(slots=True)
class _Room:
    """For all characters of a page."""

    left: int = field(default=ALL_MAX_CHARACTERS)

    def cut(self, text: str) -> tuple[str, int]:
        shown = text[: min(TEXT_MAX_CHARACTERS, max(self.left, 0))]
        self.left -= len(shown)
        return shown, len(text) - len(shown)


def conversation(request: Any, answer: Any) -> Conversation:
    """*request* and *answer* as they were parsed; None where there is none."""
    request = request if isinstance(request, dict) else {}
    room = _Room()
    turns = [_Raw(str(each.get("role", "?"))[:20], each.get("content")) for each in _dicts(request.get("messages"))]
    if isinstance(answer, dict) and answer.get("type") == "message":
        turns.append(_Raw("answer", answer.get("content")))
    # The newest first: it is what somebody came for, and what there has to be room for.
    shown = [_turn(each, room) for each in reversed(turns[-TURNS_MAX:])]
    return Conversation(
        system=_blocks(request.get("system"), room)[:BLOCKS_MAX],
        tools=tuple(str(tool.get("name", "?"))[:200] for tool in _dicts(request.get("tools")))[:BLOCKS_MAX],
        turns=tuple(reversed(shown)),
        earlier=max(0, len(turns) - TURNS_MAX),
    )


@dataclass(frozen=True, slots=True)
class _Raw:
    role: str
    content: Any


def _turn(raw: _Raw, room: _Room) -> Turn:
    found = _blocks(raw.content, room)
    return Turn(raw.role, found[:BLOCKS_MAX], max(0, len(found) - BLOCKS_MAX))


def _blocks(content: Any, room: _Room, depth: int = 0) -> tuple[Block, ...]:
    if isinstance(content, str):
        return (_said("text", "", content, room),) if content else ()
    if not isinstance(content, list):
        return () if content is None else (_json("other", "?", content, room),)
    return tuple(_block(each, room, depth) for each in content[: BLOCKS_MAX + 1])


def _block(raw: Any, room: _Room, depth: int) -> Block:
    if not isinstance(raw, dict):
        return _json("other", "?", raw, room)
    kind = str(raw.get("type", "?"))[:60]
    if kind == "text" and isinstance(raw.get("text"), str):
        return _said("text", "", raw["text"], room)
    if kind == "thinking" and isinstance(raw.get("thinking"), str):
        return _said("thinking", "Thinking", raw["thinking"], room)
    if kind == "redacted_thinking":
        return Block("thinking", "Thinking that the API keeps to itself")
    if kind.endswith("tool_use"):
        return _json("tool_use", str(raw.get("name", "?"))[:200], raw.get("input"), room)
    if kind.endswith("tool_result") and depth < DEPTH_MAX:
        return _result(raw, room, depth)
    if kind == "image":
        return _image(raw, room)
    return _json("other", kind, raw, room)


def _result(raw: dict[str, Any], room: _Room, depth: int) -> Block:
    failed = raw.get("is_error") is True
    of = str(raw.get("tool_use_id", ""))[:80]
    return Block("tool_result", of, blocks=_blocks(raw.get("content"), room, depth + 1)[:BLOCKS_MAX], is_error=failed)


def _image(raw: dict[str, Any], room: _Room) -> Block:
    source = raw.get("source")
    source = source if isinstance(source, dict) else {}
    media_type, data = source.get("media_type"), source.get("data")
    if source.get("type") == "base64" and media_type in IMAGE_TYPES and isinstance(data, str) and _is_base64(data):
        if len(data) <= IMAGE_MAX_CHARACTERS:
            return Block("image", str(media_type), image=f"data:{media_type};base64,{data}")
        return Block("image", str(media_type), left_out=len(data))
    return _json("other", "image", source, room)


def _is_base64(data: str) -> bool:
    return data.isascii() and data.replace("+", "").replace("/", "").rstrip("=").isalnum()


def _said(kind: str, title: str, text: str, room: _Room) -> Block:
    shown, left_out = room.cut(text)
    return Block(kind, title, shown, left_out)


def _json(kind: str, title: str, value: Any, room: _Room) -> Block:
    return _said(kind, title, as_json(value), room)


def as_json(value: Any) -> str:
    try:
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    except (RecursionError, ValueError, TypeError):
        return "This is nested too deeply to be shown."


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())
