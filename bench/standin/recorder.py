"""Remembers the last exchanges, byte for byte: what came in, what went out, and how it ended."""

import base64
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from bench.asgi import Json, Message, Scope, Send

KEPT_BYTES = 256 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Exchange:
    number: int
    method: str
    target: str
    """Path and query as they stood in the request line."""
    headers: list[tuple[str, str]]
    """In the order in which they came; the server has lowered their names."""
    body: bytes = b""
    status: int = 0
    sent_headers: list[tuple[str, str]] = field(default_factory=list)
    sent: bytearray = field(default_factory=bytearray)
    """The body that went out, without the framing of chunks."""
    streaming: bool = False
    finished: bool = False
    """The last byte was handed to the server; what the client had read by then is not known."""
    cut: bool = False
    """The stand-in itself broke the connection."""
    client_disconnected_at: float | None = None
    """time.monotonic() when the client left an unfinished answer."""

    @property
    def disconnected(self) -> bool:
        return self.client_disconnected_at is not None

    @property
    def ended(self) -> bool:
        return self.finished or self.cut or self.disconnected

    def header(self, name: str) -> str | None:
        """The first request header of that name."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    def as_json(self) -> Json:
        return {
            "number": self.number,
            "method": self.method,
            "target": self.target,
            "headers": self.headers,
            "body": base64.b64encode(self.body).decode(),
            "status": self.status,
            "sent_headers": self.sent_headers,
            "sent": base64.b64encode(self.sent).decode(),
            "finished": self.finished,
            "cut": self.cut,
            "disconnected": self.disconnected,
            "client_disconnected_at": self.client_disconnected_at,
        }


class Recorder:
    """Written by the serving thread, read by any other."""

    def __init__(self, keep: int) -> None:
        self._changed = threading.Condition()
        self._kept: deque[Exchange] = deque(maxlen=keep)
        self._by_status: Counter[int] = Counter()
        self._open: set[Exchange] = set()
        self._requests = self._disconnected = 0

    @property
    def exchanges(self) -> list[Exchange]:
        """Oldest first."""
        with self._changed:
            return list(self._kept)

    @property
    def last(self) -> Exchange:
        return self.exchanges[-1]

    def wait_for(self, wanted: Callable[[Exchange], bool], seconds: float = 5) -> Exchange:
        """The first exchange that is as *wanted*, now or within *seconds*. Raises TimeoutError."""
        with self._changed:
            found = self._changed.wait_for(lambda: next(filter(wanted, self._kept), None), seconds)
        if found is None:
            raise TimeoutError(f"no such exchange within {seconds} s")
        return found

    def stats(self) -> Json:
        with self._changed:
            return {
                "requests": self._requests,
                "open": len(self._open),
                "open_streams": sum(each.streaming for each in self._open),
                "disconnected": self._disconnected,
                "by_status": {str(status): count for status, count in sorted(self._by_status.items())},
            }

    def reset(self) -> None:
        with self._changed:
            self._kept.clear()
            self._by_status.clear()
            self._open.clear()
            self._requests = self._disconnected = 0

    def open(self, scope: Scope) -> Exchange:
        with self._changed:
            self._requests += 1
            exchange = Exchange(self._requests, scope["method"], _target(scope), _texts(scope["headers"]))
            self._open.add(exchange)
            self._kept.append(exchange)
            while sum(len(each.body) for each in self._kept) > KEPT_BYTES:
                self._kept.popleft()
            return exchange

    def received(self, exchange: Exchange, body: bytes) -> None:
        with self._changed:
            exchange.body = body
            self._changed.notify_all()

    def tap(self, exchange: Exchange, send: Send) -> Send:
        """*send*, with a record of what it sent."""

        async def recording_send(message: Message) -> None:
            with self._changed:
                if message["type"] == "http.response.start":
                    exchange.status = message["status"]
                    exchange.sent_headers = _texts(message["headers"])
                    exchange.streaming = ("cache-control", "no-cache") in exchange.sent_headers
                    self._by_status[exchange.status] += 1
                else:
                    exchange.sent += message["body"]
                    exchange.finished = not message["more_body"]
                self._changed.notify_all()
            await send(message)

        return recording_send

    def close(self, exchange: Exchange, *, cut: bool = False) -> None:
        """However it ended: what is neither finished nor cut by us was left by the client."""
        with self._changed:
            self._open.discard(exchange)
            exchange.cut = cut
            if not exchange.finished and not cut:
                exchange.client_disconnected_at = monotonic()
                self._disconnected += 1
            self._changed.notify_all()


def _target(scope: Scope) -> str:
    path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


def _texts(headers: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
