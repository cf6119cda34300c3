"""Counts tokens: four bytes each, with a prompt cache that remembers prefixes per organization.

Unlike the real cache there is no minimum length and nothing expires.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bench.asgi import Json


def tokens(size: int) -> int:
    return -(-size // 4)


@dataclass(frozen=True, slots=True)
class InputTokens:
    fresh: int
    read: int = 0
    written_5m: int = 0
    written_1h: int = 0

    @property
    def written(self) -> int:
        return self.written_5m + self.written_1h

    def totals(self) -> Json:
        """The counters that the end of a stream repeats."""
        return {
            "input_tokens": self.fresh,
            "cache_creation_input_tokens": self.written,
            "cache_read_input_tokens": self.read,
        }

    def usage(self, output_tokens: int) -> Json:
        """The usage of a whole message, or of the start of a stream."""
        split = {"ephemeral_5m_input_tokens": self.written_5m, "ephemeral_1h_input_tokens": self.written_1h}
        return self.totals() | {
            "cache_creation": split,
            "output_tokens": output_tokens,
            "service_tier": "standard",
            "inference_geo": "not_available",
        }


@dataclass(slots=True)
class PromptCache:
    _known: set[bytes] = field(default_factory=set)

    def count(self, body: Json, organization: str) -> InputTokens:
        digest = hashlib.sha256(f"{organization} {body['model']}".encode())
        size = read = marked = 0
        written = {"5m": 0, "1h": 0}
        for text, control in _segments(body):
            digest.update(text)
            size += len(text)
            if control is None:
                continue
            prefix = digest.digest()
            if prefix in self._known:
                # A longer known prefix takes in whatever an earlier mark would have written.
                read, written = tokens(size), {"5m": 0, "1h": 0}
            else:
                written["1h" if control.get("ttl") == "1h" else "5m"] += tokens(size) - marked
                self._known.add(prefix)
            marked = tokens(size)
        return InputTokens(max(tokens(size) - marked, 1), read, written["5m"], written["1h"])


def _segments(body: Json) -> Iterator[tuple[bytes, Json | None]]:
    """Each block in the order in which the API caches, with its cache_control."""
    blocks = list(_blocks(body))
    for number, block in enumerate(blocks):
        control = block.get("cache_control") if isinstance(block, dict) else None
        if control is None and number == len(blocks) - 1:
            control = body.get("cache_control")
        yield _dump(block), control


def _blocks(body: Json) -> Iterator[Any]:
    yield from body.get("tools") or []
    yield from _listed(body.get("system") or [])
    for message in body["messages"]:
        yield from _listed(message.get("content") or [])


def _listed(content: Any) -> list[Any]:
    return content if isinstance(content, list) else [content]


def _dump(block: Any) -> bytes:
    if isinstance(block, dict):
        if block.get("type") == "text":
            return str(block.get("text", "")).encode()
        block = {name: value for name, value in block.items() if name != "cache_control"}
    return block.encode() if isinstance(block, str) else json.dumps(block).encode()
