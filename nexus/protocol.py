"""uvicorn's HTTP protocol with the bounds that it lacks: on a request's head, on the wait for it, and on upgrades."""

import asyncio
import json
from collections.abc import Callable

from django.conf import settings
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from telemetry import draining

HEAD_MAX_BYTES = 128 * 1024
BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding"})
READ_MAX_BYTES = 256 * 1024
"""What one read may bring of a body after the head."""
LINGER_SECONDS = 0.5
"""So long a connection stays open after its last answer when the server drains: longer than a request is on its way."""


on_shutdown: list[Callable[[], None]] = []
"""Called when the server begins to drain, once for each connection: the application's lifespan hears of it only when
that is over."""


socket_paths: set[bytes] = set()
"""Where the application takes sockets."""


class GuardedProtocol(HttpToolsProtocol):
    """Closes connections that send no whole head in time, and refuses endless heads: uvicorn would wait and collect for
    ever. Refuses upgrades, but for the sockets of live pages without a body: the parser skips the body of such a
    request, which then would run as the next one."""

    _in_head = True
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as its base has it
        super().connection_made(transport)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch_head()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        for listener in on_shutdown:
            listener()
        if self._is_idle() or self.cycle.response_started:
            self._linger()
        else:
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if draining.is_on() and not self.transport.is_closing():
            self._linger()

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_MAX_BYTES + READ_MAX_BYTES:
                self.send_400_response(f"The head of this request is larger than {HEAD_MAX_BYTES:,} bytes.")
                return
        super().data_received(data)
        if self._in_head and self._head_bytes and self._head_timer is None:
            self._watch_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        self._unwatch_head()
        if self.parser.should_upgrade() and not self._is_for_a_page():
            self.send_400_response("Nexus does not upgrade connections. Send this request as plain HTTP/1.1.")
            return
        super().on_headers_complete()
        if draining.is_on() and self.cycle is not None:
            self.cycle.keep_alive = False

    def _is_for_a_page(self) -> bool:
        names = {name for name, _ in self.headers}
        is_bare = self.parser.get_method() == b"GET" and not names & BODY_HEADERS
        return is_bare and self._should_upgrade() and self.url.partition(b"?")[0] in socket_paths

    def on_body(self, body: bytes) -> None:
        if self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self.cycle is not None:
            super().on_message_complete()
        self._in_head, self._head_bytes = True, 0

    def send_400_response(self, msg: str) -> None:
        """In the API's envelope; there is no request to record yet."""
        if self.transport.is_closing():
            return
        content = {"type": "error", "error": {"type": "invalid_request_error", "message": msg}, "request_id": None}
        body = json.dumps(content).encode()
        head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[400] + head.encode() + body)
        self.transport.close()

    def _linger(self) -> None:
        """Whoever sends a request on this connection just now cannot know yet that it is to be closed: it is answered,
        with `connection: close`."""
        self.loop.call_later(LINGER_SECONDS, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self.transport.is_closing():
            return
        if self._is_idle():
            self.transport.close()

    def _is_idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _watch_head(self) -> None:
        self._head_timer = self.loop.call_later(settings.INTAKE.head_seconds, self._give_up)

    def _unwatch_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if self._in_head and not self.transport.is_closing():
            self.transport.close()
