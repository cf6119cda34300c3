"""Performs a reply on the wire, with the delays and breaks that the script wants."""

import asyncio
from typing import NoReturn

from bench.asgi import Send
from bench.standin.errors import ApiError
from bench.standin.replies import Reply, Stream
from bench.standin.script import Script
from bench.standin.streams import event

BEFORE_HEAD = -1


class ConnectionCut(Exception):
    """The script wants the connection to break here."""


async def perform(reply: Reply | Stream, script: Script, request_id: str, send: Send) -> None:
    """Raises ConnectionCut where the script says so, and never returns where it falls silent."""
    await asyncio.sleep(script.first_byte_ms / 1000)
    await _break_at(BEFORE_HEAD, script)
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    if isinstance(reply, Stream):
        await _stream(reply, script, request_id, send)
    else:
        await _whole(reply, script, send)


async def _whole(reply: Reply, script: Script, send: Send) -> None:
    """An answer in one piece breaks in its middle, whatever number the script gives."""
    if script.die_at is not None or script.silent_at is not None:
        await _send_body(send, reply.body[: len(reply.body) // 2], more=True)
        await _break_at(script.die_at or script.silent_at or 0, script)
    await _send_body(send, reply.body, more=False)


async def _stream(reply: Stream, script: Script, request_id: str, send: Send) -> None:
    said = -1  # deltas, from the moment at which the first could come
    for each in reply.events:
        delta = each.name == "content_block_delta"
        # Even without a delay the loop gets its turn: it may have heard that the client left.
        await asyncio.sleep(script.delay_ms / 1000 if delta else 0)
        await _send_body(send, each.wire, more=True)
        if delta or (said < 0 and each.name == "content_block_start"):
            said += 1
            await _break_at(said, script)
            if said == script.error_at:
                error = event(ApiError(529).envelope(request_id))
                await _send_body(send, error.wire, more=True)
                break
    await _send_body(send, b"", more=False)


async def _send_body(send: Send, body: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _break_at(said: int, script: Script) -> None:
    if script.die_at == said:
        raise ConnectionCut
    if script.silent_at == said:
        await _silence()


async def _silence() -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets this event")
