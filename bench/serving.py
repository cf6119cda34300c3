"""Serves an ASGI app on a loopback port: in a thread, or as this process until it is told to stop."""

import logging
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bench.asgi import App

TRANSPORT = "bench.transport"
"""Extension of the scope: the connection's asyncio transport, to cut it or to see that it is closing."""


@contextmanager
def in_thread(app: App, port: int = 0) -> Iterator[str]:
    """The base URL of *app*, served by a thread with its own event loop while the block lasts."""
    listener = _listen(port)
    url = _url(listener)
    server = _Server(_config(app))
    thread = threading.Thread(target=server.run, args=([listener],), name=f"serving {url}", daemon=True)
    thread.start()
    try:
        yield url
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def until_stopped(app: App, port: int = 0, *, lifespan: bool = False) -> None:
    """Says on stdout where it listens, and returns after SIGTERM or SIGINT."""
    listener = _listen(port)
    server = _Server(_config(app, lifespan=lifespan))
    # Also after uvicorn has put its own handlers away, when it raises the signal that stopped it once more.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    print(f"listening on {_url(listener)}", flush=True)
    server.run([listener])


def _listen(port: int) -> socket.socket:
    # Listening before the server runs: a client that comes too early waits in the backlog, nobody has to poll.
    return socket.create_server(("127.0.0.1", port), backlog=4096)


def _url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def _config(app: App, *, lifespan: bool = False) -> uvicorn.Config:
    return uvicorn.Config(
        cast(Any, app),
        http=_Protocol,
        loop="uvloop",
        lifespan="on" if lifespan else "off",
        ws="none",
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=4096,
        timeout_graceful_shutdown=2,
    )


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Cuts what is still open: nobody needs the rest of a stand-in's streams."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)


class _Protocol(HttpToolsProtocol):
    """Shows an app its connection, for what ASGI has no word for, and keeps quiet about what it does with it.

    The loggers are set here, not in Config: that would change uvicorn's for the whole process.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = logging.getLogger("bench.serving")
        self.logger.setLevel(logging.CRITICAL)
        self.access_log = False

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        cast(dict[str, Any], self.scope)["extensions"] = {TRANSPORT: self.transport}
