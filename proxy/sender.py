"""The answer's way out. Knows whether the head has left, and so how a failure can still be told."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from proxy.errors import ProxyError
from proxy.headers import Headers, is_event_stream
from proxy.intake import Intake

Send = Callable[[dict[str, Any]], Awaitable[None]]
REQUEST_ID = b"x-nexus-request-id"
WITHOUT_BODY = (204, 304)
EARLY_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
DISCARD_MAX_BYTES = 64_000_000
DISCARD_SECONDS = 10.0


class Sender:
    def __init__(self, send: Send, request_id: str, cors: Headers = ()) -> None:
        self._send = send
        self._request_id = request_id
        self._cors = cors
        self._own: Headers = ()
        self._is_sse = False
        self.is_early = False
        """The head has left, and nothing but comments: what the answer is, is open."""
        self.status: int | None = None
        """What the client was told, in the head or, where that had left early, in an event; None while it was not."""

    @property
    def owns_cors(self) -> bool:
        """The page's origin is ours to judge, not the API's."""
        return bool(self._cors)

    def add(self, headers: Headers) -> None:
        """Headers of our own, for the head of whatever answer comes."""
        self._own = headers

    async def start(self, status: int, headers: Headers) -> None:
        if self.is_early:
            self.is_early = False
        else:
            await self._send_head(status, headers)
        self.status = status

    async def begin_early(self) -> None:
        """Begins a stream, once, before there is an answer: what comes then has to be told as events of it."""
        if not self.is_early:
            self.is_early = True
            await self._send_head(200, EARLY_HEADERS)

    async def _send_head(self, status: int, headers: Headers) -> None:
        self._is_sse = is_event_stream(headers)
        if self._is_sse or status in WITHOUT_BODY:
            # The server would insist on that many bytes; a stream may have to end in an error event instead.
            headers = [pair for pair in headers if pair[0] != b"content-length"]
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*headers, *self._own, *self._cors, (REQUEST_ID, self._request_id.encode())],
            }
        )

    async def tell_failure(self, status: int, body: bytes) -> None:
        """An answer of the API that is no stream, in one that has begun early."""
        self.status = status
        await self.body(b"event: error\ndata: " + _as_error(status, body) + b"\n\n")
        await self.end()

    async def body(self, chunk: bytes) -> None:
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def fail(self, error: ProxyError, unread: Intake | None = None) -> None:
        """Says what went wrong: as an answer, as an event of the stream, or, in the middle of any other body, by not
        completing it: the server then breaks the connection. `unread` is a body to take off the line first."""
        if self.is_early:
            self.is_early, self.status = False, error.status
        elif self.status is None:
            await self._answer(error, unread)
            return
        if self._is_sse:
            await self.body(self._as_event(error))
            await self.end()

    async def _answer(self, error: ProxyError, unread: Intake | None) -> None:
        content = error.as_json(self._request_id)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
            (b"request-id", self._request_id.encode()),
            (b"x-should-retry", b"true" if error.may_retry else b"false"),
            *error.headers,
        ]
        await self.start(error.status, headers)
        await self.body(content)
        if unread is not None:
            await unread.discard(DISCARD_MAX_BYTES, DISCARD_SECONDS)
        await self.end()

    def _as_event(self, error: ProxyError) -> bytes:
        """Begins with a line end of its own: a half event that the upstream left behind becomes part of this error
        instead of being taken for a whole one (the official SDKs then report the text they got)."""
        content = {"type": "error", "error": {"type": error.type, "message": error.message}}
        content["request_id"] = self._request_id
        return b"\nevent: error\ndata: " + msgspec.json.encode(content) + b"\n\n"


def _as_error(status: int, body: bytes) -> bytes:
    """On one line, and in the API's shape, whatever it was."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    if isinstance(found, dict) and found.get("type") == "error":
        return msgspec.json.encode(found)
    message = (
        f"The Claude API answered {status} with a body that is neither a stream nor an error as it describes them."
    )
    return msgspec.json.encode({"type": "error", "error": {"type": "api_error", "message": message}})
