"""What a long session of an agent takes on record, measured: it resends its whole history every turn."""

import json
import random
from typing import Any

import pytest
from django.db.models import Sum

from accounts.ids import new_id
from telemetry.models import BodyRow, ExchangeRow, PieceRow
from telemetry.record.exchange import Closed
from telemetry.record.store import store
from tests.telemetry.facts import closed

pytestmark = pytest.mark.django_db(transaction=True)

TURNS = 60
LEAST_RATIO = 15
WORDS = [
    "".join(random.Random(seed).choices("etaoinshrdlucmfwypvbgk_", k=random.Random(seed).randint(2, 11)))
    for seed in range(4000)
]


class Agent:
    """Reads files, runs commands and edits, as Claude Code does: 60 KB of tools, a history that grows to about 1 MB."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._system = [
            {"type": "text", "text": "You are a coding agent."},
            {"type": "text", "text": self._text(14_000), "cache_control": {"type": "ephemeral"}},
        ]
        self._tools = [
            {
                "name": f"tool_{n}",
                "description": self._text(2_500),
                "input_schema": {"type": "object", "properties": {}},
            }
            for n in range(22)
        ]
        self._history: list[dict[str, Any]] = [self._user({"type": "text", "text": self._text(6_000)})]

    def _text(self, length: int) -> str:
        lines, size = [], 0
        while size < length:
            line = " " * 4 * self._random.randint(0, 4) + " ".join(
                self._random.choices(WORDS, k=self._random.randint(3, 12))
            )
            lines.append(line)
            size += len(line) + 1
        return "\n".join(lines)

    def _user(self, block: dict[str, Any]) -> dict[str, Any]:
        return {"role": "user", "content": [block]}

    def turn(self) -> tuple[bytes, bytes]:
        """What it sends, and what it is answered."""
        # The mark of the prompt cache moves along: the last message looks different when it is sent again.
        *before, last = self._history
        marked = {**last, "content": [{**last["content"][0], "cache_control": {"type": "ephemeral"}}]}
        request = {
            "model": "claude-opus-5",
            "max_tokens": 32_000,
            "stream": True,
            "system": self._system,
            "tools": self._tools,
            "metadata": {"user_id": "user_1_account_2_session_3"},
            "messages": [*before, marked],
        }
        call_id = f"toolu_{self._random.getrandbits(96):024x}"
        said = {"type": "text", "text": self._text(300)}
        used = {"type": "tool_use", "id": call_id, "name": "tool_3", "input": {"path": self._text(40)}}
        self._history.append({"role": "assistant", "content": [said, used]})
        result = self._text(self._random.randint(500, 30_000))
        self._history.append(self._user({"type": "tool_result", "tool_use_id": call_id, "content": result}))
        return json.dumps(request).encode(), self._stream(said["text"])

    def _stream(self, text: str) -> bytes:
        pieces = [text[start : start + 12] for start in range(0, len(text), 12)]
        data = [
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": one}} for one in pieces
        ]
        return b"".join(b"event: content_block_delta\ndata: " + json.dumps(one).encode() + b"\n\n" for one in data)


def test_a_session_of_sixty_turns_takes_a_fifteenth_of_its_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    agent, domain_id = Agent(1), new_id()
    turns: list[Closed] = []
    for _ in range(TURNS):
        request, response = agent.turn()
        turns.append(closed(request, response, domain_id=domain_id))
        assert store(turns[-1:]) == 1
    sizes = [len(one.bodies.request) for one in turns if one.bodies]
    assert sizes[0] < 100_000 < 700_000 < sizes[-1]
    for one in (turns[0], turns[31], turns[-1]):
        row = ExchangeRow.objects.get(id=one.exchange.id)
        assert one.bodies is not None
        assert (row.request_body(), row.response_body()) == (one.bodies.request, one.bodies.response[0])
    raw = sum(one.bodies.size_bytes for one in turns if one.bodies)
    taken = sum(model.objects.aggregate(all=Sum("stored_bytes"))["all"] for model in (BodyRow, PieceRow))
    with capsys.disabled():
        print(f"\n{TURNS} turns: {raw:,} bytes of bodies take {taken:,} on record, {raw / taken:.0f} times less")  # noqa: T201
    assert raw / taken >= LEAST_RATIO
