"""The bodies of a made-up conversation: an agent's, with a long prompt, tools, and the history sent again each turn."""

from random import Random

import msgspec

from telemetry.fiction.words import Sentences
from telemetry.record.exchange import Bodies

SYSTEM_CHARACTERS = 12_000
TOOLS = 18
TOOL_CHARACTERS = 2_500
MESSAGE_CHARACTERS = 1_500
ANSWER_CHARACTERS = 900


class Talk:
    """One conversation. Prompt and tools are the same in all conversations with the same `sentences`."""

    def __init__(self, random: Random, sentences: Sentences, frame: tuple[bytes, bytes], model: str) -> None:
        self._random, self._sentences, self._model = random, sentences, model
        self._system, self._tools = frame
        self._messages: list[bytes] = []

    def turn(self) -> Bodies:
        self._messages.append(self._message("user", MESSAGE_CHARACTERS))
        request = b'{"model":"%s","max_tokens":32000,"stream":true,"system":%s,"messages":[%s],"tools":%s}' % (
            self._model.encode(),
            self._system,
            b",".join(self._messages),
            self._tools,
        )
        answer = self._sentences.text(int(self._random.expovariate(1 / ANSWER_CHARACTERS)) + 40)
        self._messages.append(_encoded({"role": "assistant", "content": [{"type": "text", "text": answer}]}))
        return Bodies(
            request_headers=[("content-type", "application/json"), ("anthropic-version", "2023-06-01")],
            response_headers=[("content-type", "text/event-stream; charset=utf-8"), ("request-id", "req_made_up")],
            request=request,
            response=[_stream(self._model, answer)],
            request_is_whole=True,
            response_is_whole=True,
        )

    def _message(self, role: str, length: int) -> bytes:
        text = self._sentences.text(int(self._random.expovariate(1 / length)) + 40)
        ticket = self._sentences.with_ticket()
        return _encoded({"role": role, "content": [{"type": "text", "text": f"{ticket}. {text}"}]})


def frame(sentences: Sentences) -> tuple[bytes, bytes]:
    """A system prompt and tools: about 60 kB, as those of coding agents are."""
    system = [{"type": "text", "text": sentences.text(SYSTEM_CHARACTERS), "cache_control": {"type": "ephemeral"}}]
    schema = {"type": "object", "properties": {"path": {"type": "string", "description": sentences.one()}}}
    tools = [
        {"name": f"tool_{number}", "description": sentences.text(TOOL_CHARACTERS), "input_schema": schema}
        for number in range(TOOLS)
    ]
    return _encoded(system), _encoded(tools)


def _stream(model: str, answer: str) -> bytes:
    words = answer.split(" ")
    pieces = [" ".join(words[start : start + 4]) + " " for start in range(0, len(words), 4)]
    events: list[tuple[str, object]] = [
        ("message_start", {"type": "message_start", "message": {"role": "assistant", "model": model, "content": []}}),
        ("content_block_start", {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}),
    ]
    for text in pieces:
        delta = {"type": "text_delta", "text": text}
        events.append(("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}))
    events.append(("message_stop", {"type": "message_stop"}))
    return b"".join(b"event: %s\ndata: %s\n\n" % (name.encode(), _encoded(data)) for name, data in events)


def _encoded(value: object) -> bytes:
    return msgspec.json.encode(value)
