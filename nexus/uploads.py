"""Bodies of requests to the pages and to the query API: small, and here soon. Django would write any size to the disk,
and wait for ever, before it looks who asks."""

import asyncio
from typing import Any

BODY_MAX_BYTES = 5_000_000
"""Django itself refuses forms over 2.5 MB, files not included; Nexus takes none."""


async def bounded(application: Any, scope: Any, receive: Any, send: Any, pause_seconds: float) -> None:
    """Runs *application*; a body that is too large, or pauses for longer, ends in an answer and a closed connection."""
    left_bytes, is_whole = BODY_MAX_BYTES, False

    async def receive_some() -> Any:
        nonlocal left_bytes, is_whole
        if is_whole:
            return await receive()
        try:
            async with asyncio.timeout(pause_seconds):
                message = await receive()
        except TimeoutError:
            return await refused(408, f"Nothing came of this request's body for {pause_seconds:g} seconds.")
        left_bytes -= len(message.get("body", b""))
        is_whole = not message.get("more_body", False)
        if left_bytes < 0:
            return await refused(413, f"The body of this request is larger than {BODY_MAX_BYTES:,} bytes.")
        return message

    async def refused(status: int, sentence: str) -> Any:
        """What ends the application's reading: Django answers nothing to whoever has gone."""
        nonlocal is_whole
        is_whole = True
        body = sentence.encode()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return {"type": "http.disconnect"}

    await application(scope, receive_some, send)
