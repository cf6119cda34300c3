"""The stand-in of the bench: prebuilt answers, so that its own cost stays out of what is measured.

It reads the whole body and looks for two things near its end: `"stream":true`, and SLOW, which makes a stream
speak once a second until its client leaves.
"""

import asyncio
import json

from bench.asgi import ClientLeft, Message, Receive, Scope, Send, read_body
from bench.standin import heads
from bench.standin.answers import Answer
from bench.standin.blocks import Text
from bench.standin.streams import events
from bench.standin.usage import InputTokens

SLOW = b"[[standin slow]]"
DELTAS = 50
LOOKED_AT = 256  # bytes: to search 2 MB takes longer than to receive them


async def fast(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        end = (await read_body(receive))[-LOOKED_AT:]
    except ClientLeft:
        return
    if b'"stream":true' not in end and b'"stream": true' not in end:
        await send(JSON_START)
        await send(JSON_BODY)
        return
    await send(STREAM_START)
    if SLOW in end:
        await _speak_slowly(receive, send)
        return
    for message in STREAM_BODY:
        await send(message)


async def _speak_slowly(receive: Receive, send: Send) -> None:
    *opening, delta = STREAM_BODY[:4]
    for message in opening:
        await send(message)
    while True:
        try:
            await asyncio.wait_for(receive(), timeout=1)
            return  # nothing but a disconnect comes after the body
        except TimeoutError:
            await send(delta)


def _start(headers: dict[str, str]) -> Message:
    common = heads.common("req_0101010101010101010101") + heads.rate_limits(bearer=False, exhausted=False)
    return {"type": "http.response.start", "status": 200, "headers": common + heads.encode(headers)}


def _body(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


TEXT = Text(" ".join(["The quick brown fox jumps over the lazy dog."] * 12), DELTAS)
ANSWER = Answer(
    id="msg_0101010101010101010101",
    model="claude-haiku-4-5-20251001",
    blocks=(TEXT,),
    stop_reason="end_turn",
    input_tokens=InputTokens(1024),
    beside={},
)
JSON_START = _start({"content-type": "application/json"})
JSON_BODY = _body(json.dumps(ANSWER.whole(), separators=(",", ":")).encode(), more=False)
STREAM_START = _start({"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"})
STREAM_BODY = [
    *(_body(event.wire, more=True) for event in events(ANSWER) if event.name != "ping"),
    _body(b"", more=False),
]

# What a complete answer ends with.
JSON_END: bytes = JSON_BODY["body"][-16:]
STREAM_END: bytes = STREAM_BODY[-2]["body"]
