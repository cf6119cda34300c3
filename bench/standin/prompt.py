"""Reads the body of a messages request, as far as the answer depends on it."""

import json
from dataclasses import dataclass
from typing import Any

from bench.asgi import Json
from bench.standin import catalogue
from bench.standin.errors import ApiError

ROLES = ("user", "assistant", "system")


@dataclass(frozen=True, slots=True)
class Prompt:
    body: Json
    text: str
    """The text of the last user message, empty after a tool's result."""
    answers_tool: bool
    """The last message brings a tool's result."""

    @property
    def model(self) -> str:
        return str(self.body["model"])

    @property
    def stream(self) -> bool:
        return self.body.get("stream") is True

    @property
    def max_tokens(self) -> int:
        return int(self.body.get("max_tokens", 4096))

    @property
    def thinking(self) -> Json | None:
        thinking = self.body.get("thinking") or {}
        return thinking if thinking.get("type") in ("enabled", "adaptive") else None

    @property
    def client_tools(self) -> list[Json]:
        """Tools the caller would run itself and whose input is described."""
        return [tool for tool in self.body.get("tools") or [] if "input_schema" in tool]

    @property
    def tool_choice(self) -> Json:
        return self.body.get("tool_choice") or {"type": "auto"}


def load(body: bytes) -> Json:
    try:
        loaded = json.loads(body)
    except ValueError as error:
        raise ApiError(400, f"The request body is not valid JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise ApiError(400, "The request body must be a JSON object")
    return loaded


def read(body: Json, *, counting: bool = False) -> Prompt:
    """Checks what the API checks first. Raises ApiError."""
    required = ["model", "messages"] if counting else ["model", "max_tokens", "messages"]
    for name in required:
        if name not in body:
            raise ApiError(400, f"{name}: Field required")
    catalogue.check(str(body["model"]))
    if not isinstance(body.get("max_tokens", 1), int):
        raise ApiError(400, "max_tokens: Input should be a valid integer")
    _check_messages(body["messages"])
    last = _last_user_content(body["messages"])
    return Prompt(
        body=body,
        text="\n".join(block["text"] for block in last if block.get("type") == "text"),
        answers_tool=any(block.get("type") == "tool_result" for block in last),
    )


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list):
        raise ApiError(400, "messages: Input should be a valid array")
    if not messages:
        raise ApiError(400, "messages: at least one message is required")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise ApiError(400, f"messages.{number}: Input should be a message")
        content = message.get("content")
        if not isinstance(content, str) and not _are_blocks(content):
            raise ApiError(400, f"messages.{number}.content: Input should be a string or an array of blocks")


def _are_blocks(content: Any) -> bool:
    return isinstance(content, list) and all(isinstance(block, dict) and "type" in block for block in content)


def _last_user_content(messages: list[Json]) -> list[Json]:
    """The blocks of the last user message. Claude Code may put a system message after it."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message["content"]
            return [{"type": "text", "text": content}] if isinstance(content, str) else content
    return []
