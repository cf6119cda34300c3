"""The raw limit: the least that a relay on this stack can do. Reads the body, forwards it, streams the answer back.

`python -m bench.raw --upstream http://127.0.0.1:PORT`
"""

import argparse

import httpx
from httpx_aiohttp import AiohttpTransport

from bench import serving
from bench.asgi import ClientLeft, Receive, Scope, Send, read_body

FORWARDED = (b"content-type", b"x-api-key", b"anthropic-version")
HOP_BY_HOP = (b"transfer-encoding", b"connection", b"keep-alive")


class Relay:
    def __init__(self, upstream: str) -> None:
        self._upstream = httpx.URL(upstream)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        try:
            body = await read_body(receive)
        except ClientLeft:
            return
        await self._relay(scope, body, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._transport = AiohttpTransport(limits=httpx.Limits(max_connections=10_000, keepalive_expiry=60))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._transport.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _relay(self, scope: Scope, body: bytes, send: Send) -> None:
        request = httpx.Request(
            scope["method"],
            self._upstream.copy_with(raw_path=scope["raw_path"]),
            headers=[header for header in scope["headers"] if header[0] in FORWARDED],
            content=body,
        )
        connection = scope["extensions"][serving.TRANSPORT]
        response = await self._transport.handle_async_request(request)
        try:
            headers = [(name, value) for name, value in response.headers.raw if name.lower() not in HOP_BY_HOP]
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            async for chunk in response.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if connection.is_closing():
                    return
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await response.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.raw", description=__doc__)
    parser.add_argument("--upstream", required=True, help="base URL to forward to")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    options = parser.parse_args()
    serving.until_stopped(Relay(options.upstream), options.port, lifespan=True)


if __name__ == "__main__":
    main()
