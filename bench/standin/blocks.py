"""Content blocks of an answer: each can be written whole, or as the start and the deltas of a stream."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from bench.asgi import Json


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    pieces: int

    def whole(self) -> Json:
        return {"type": "text", "text": self.text}

    def start(self) -> Json:
        return {"type": "text", "text": ""}

    def deltas(self) -> Iterator[Json]:
        for piece in cut(self.text, self.pieces):
            yield {"type": "text_delta", "text": piece}


@dataclass(frozen=True, slots=True)
class Thinking:
    thinking: str
    signature: str

    def whole(self) -> Json:
        return {"type": "thinking", "thinking": self.thinking, "signature": self.signature}

    def start(self) -> Json:
        return {"type": "thinking", "thinking": "", "signature": ""}

    def deltas(self) -> Iterator[Json]:
        for piece in cut(self.thinking, 3):
            yield {"type": "thinking_delta", "thinking": piece}
        yield {"type": "signature_delta", "signature": self.signature}


@dataclass(frozen=True, slots=True)
class ToolUse:
    id: str
    name: str
    input: Json

    def whole(self) -> Json:
        return {"type": "tool_use", "id": self.id, "name": self.name, "input": self.input}

    def start(self) -> Json:
        return {"type": "tool_use", "id": self.id, "name": self.name, "input": {}}

    def deltas(self) -> Iterator[Json]:
        whole = json.dumps(self.input, ensure_ascii=False)
        for piece in ["", *cut(whole, 3)]:
            yield {"type": "input_json_delta", "partial_json": piece}


Block = Text | Thinking | ToolUse


def cut(text: str, pieces: int) -> Iterator[str]:
    """*text* in *pieces* parts of about the same length, none of them empty."""
    pieces = min(pieces, len(text))
    for number in range(pieces):
        yield text[len(text) * number // pieces : len(text) * (number + 1) // pieces]
