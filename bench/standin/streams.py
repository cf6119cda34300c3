"""An answer as server-sent events, with the wire's quirks: padding before the last brace, and pings."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from bench.asgi import Json
from bench.standin.answers import Answer

PLACEHOLDER_OUTPUT_TOKENS = 4
PING_EVERY = 25


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    wire: bytes


def event(data: Json, padding: int = 0) -> Event:
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    wire = f"event: {data['type']}\ndata: {text[:-1]}{' ' * padding}}}\n\n"
    return Event(data["type"], wire.encode())


PING = Event("ping", b'event: ping\ndata: {"type": "ping"}\n\n')


def events(answer: Answer) -> Iterator[Event]:
    """The same answer gets the same padding."""
    padding = random.Random(answer.id)
    for data in _data(answer):
        yield PING if data == {"type": "ping"} else event(data, padding.randrange(16))


def _data(answer: Answer) -> Iterator[Json]:
    yield {"type": "message_start", "message": answer.envelope(PLACEHOLDER_OUTPUT_TOKENS)}
    for index, block in enumerate(answer.blocks):
        yield {"type": "content_block_start", "index": index, "content_block": block.start()}
        for number, delta in enumerate(block.deltas()):
            if number % PING_EVERY == 0 and (index == 0 or number):
                yield {"type": "ping"}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    stop = {"stop_reason": answer.stop_reason, "stop_sequence": None, "stop_details": None}
    usage = answer.input_tokens.totals() | answer.output
    yield {"type": "message_delta", "delta": stop, "usage": usage} | answer.beside
    yield {"type": "message_stop"}
