"""What Slack is shown of an exchange: bodies in, words out. Free of Django.

The forms are the original's (facts/original-features.md 1.2): the text of the user, the answer of Claude, and a line
for each tool that it calls.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from telemetry.record.message import message_from_stream
from telemetry.record.pieces import parts_of
from telemetry.record.preview import REMINDER

USER_MAX_LINES = 20
TRUNCATED = "... (truncated)"
MESSAGE_MAX_CHARACTERS = 3000
TOOL_INPUT_MAX_CHARACTERS = 100
TOOL_BLOCKS = ("tool_use", "server_tool_use", "mcp_tool_use")
WORD_JOINER = "\u2060"
_MENTION = re.compile(r"@(?=\w)")
_UNREADABLE = (ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class Said:
    """What was said in one exchange, as it was written."""

    user: str
    claude: str
    tools: tuple[str, ...]

    def text(self, *, with_user: bool) -> str:
        """As Slack shows it, before anything is escaped."""
        if not self.claude:
            return "\n".join(self.tools)
        lines = "\n".join((f"🤖 Claude: {self.claude}", *self.tools))
        return f"👤 User: {shortened(self.user)}\n\n{lines}" if with_user else lines


def said(request: bytes, response: bytes) -> Said | None:
    """None where there is no text of a user, or nothing was answered."""
    user = user_text(request)
    claude, tools = answer(response)
    return Said(user, claude, tools) if user and (claude or tools) else None


def escaped(text: str, max_characters: int = MESSAGE_MAX_CHARACTERS) -> str:
    """What people wrote, so that Slack shows it and obeys none of it: no link, no mention. It is cut before it is
    escaped: half an entity is none."""
    cut = text if len(text) <= max_characters else text[: max_characters - len(TRUNCATED)] + TRUNCATED
    plain = cut.replace("\0", "").encode("utf-8", "replace").decode()
    harmless = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MENTION.sub(f"@{WORD_JOINER}", harmless)


def shortened(text: str) -> str:
    lines = text.splitlines()
    return text if len(lines) <= USER_MAX_LINES else "\n".join((*lines[:USER_MAX_LINES], TRUNCATED))


def user_text(request: bytes) -> str:
    """The newest text that the user wrote. Claude Code tells the model about its surroundings in blocks, and messages,
    of their own: those are not what the user said."""
    for raw in reversed(parts_of(request).messages):
        message = _decoded(bytes(raw))
        if isinstance(message, dict) and message.get("role") == "user":
            text = "\n".join(part for part in _texts(message.get("content")) if REMINDER not in part).strip()
            if text:
                return text
    return ""


def answer(response: bytes) -> tuple[str, tuple[str, ...]]:
    """Its text, and a line for each tool that it calls."""
    is_json = response.lstrip()[:1] == b"{"
    message = _decoded(response) if is_json else message_from_stream(response)
    content = message.get("content") if isinstance(message, dict) else None
    return "\n".join(_texts(content)).strip(), tuple(_tool_lines(content))


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for block in content if isinstance(content, list) else ():
        match block:
            case {"type": "text", "text": str(text)}:
                yield text


def _tool_lines(content: Any) -> Iterator[str]:
    for block in content if isinstance(content, list) else ():
        match block:
            case {"type": str(kind), "name": str(name)} if kind in TOOL_BLOCKS:
                given = block.get("input")
                yield f"🔧 {name} - {_about(name, given if isinstance(given, dict) else {})}".removesuffix(" - ")


def _about(name: str, given: dict[str, Any]) -> str:
    tell = _TELLS.get(name)
    told = tell(given) if tell else ""
    return told or _first_line(given)


def _read(given: dict[str, Any]) -> str:
    offset, limit = given.get("offset"), given.get("limit")
    lines = ""
    if isinstance(limit, int):
        lines = f" (lines {offset}-{offset + limit - 1})" if isinstance(offset, int) and offset else f" ({limit} lines)"
    return _path(given, lines)


def _write(given: dict[str, Any]) -> str:
    content = given.get("content")
    return _path(given, f" ({len(content.splitlines())} lines)" if isinstance(content, str) else "")


def _edits(given: dict[str, Any]) -> str:
    edits = given.get("edits")
    return _path(given, f" ({len(edits)} edits)" if isinstance(edits, list) else "")


def _edit(given: dict[str, Any]) -> str:
    return _path(given, " (all occurrences)" if given.get("replace_all") is True else "")


def _todos(given: dict[str, Any]) -> str:
    todos = given.get("todos")
    if not isinstance(todos, list):
        return ""
    states = [todo.get("status") for todo in todos if isinstance(todo, dict)]
    counts = (states.count(state) for state in ("pending", "in_progress", "completed"))
    return "{} todos ({} pending, {} in progress, {} completed)".format(len(todos), *counts)


_TELLS: dict[str, Callable[[dict[str, Any]], str]] = {
    "Read": _read,
    "Write": _write,
    "Edit": _edit,
    "MultiEdit": _edits,
    "NotebookEdit": _edits,
    "TodoWrite": _todos,
}


def _path(given: dict[str, Any], more: str) -> str:
    """The last two segments; empty where there is no path."""
    path = given.get("file_path") or given.get("notebook_path") or given.get("path")
    if not isinstance(path, str) or not path:
        return ""
    return "/".join(re.split(r"[/\\]", path)[-2:]) + more


def _first_line(given: dict[str, Any]) -> str:
    if not given:
        return ""
    line = json.dumps(given, ensure_ascii=False).partition("\n")[0]
    return line if len(line) <= TOOL_INPUT_MAX_CHARACTERS else f"{line[:TOOL_INPUT_MAX_CHARACTERS]}…"


def _decoded(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except _UNREADABLE:
        return None
