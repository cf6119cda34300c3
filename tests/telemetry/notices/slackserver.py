"""A server that behaves as Slack's webhooks and chat.postMessage do, and as a network in trouble does."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.services import free_port

SLACK_PATH = "/services/T0FAKE/B0FAKE/fake-canary-0123456789"


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    raw: bytes
    at: float
    """By the monotonic clock."""

    @property
    def message(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.raw)
        return decoded

    @property
    def words(self) -> str:
        """The text of a plain message, or the title of one with a bar."""
        message = self.message
        return str(message.get("text") or message.get("title") or message["attachments"][0].get("title"))


Behaviour = Callable[["Handler"], None]


@dataclass
class SlackServer:
    port: int = field(default_factory=free_port)
    received: list[Received] = field(default_factory=list)
    """Whatever came, also what was not taken."""
    taken: list[Received] = field(default_factory=list)
    script: list[Behaviour] = field(default_factory=list)
    """What it does with the next requests, one by one."""
    always: Behaviour | None = None
    """What it does after that; None: it takes everything."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{SLACK_PATH}"

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/"

    @property
    def words(self) -> list[str]:
        """Of what it took."""
        return [each.words for each in self.taken]

    def start(self) -> None:
        handler = type("BoundHandler", (Handler,), {"slack": self})
        self._server = _Server(("127.0.0.1", self.port), handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        """Refuses connections from now on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are part of the play."""


class Handler(BaseHTTPRequestHandler):
    slack: SlackServer

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        one = Received(self.path, {name.lower(): value for name, value in self.headers.items()}, raw, time.monotonic())
        with self.slack.lock:
            self.slack.received.append(one)
            behave = self.slack.script.pop(0) if self.slack.script else self.slack.always
            if behave is None:
                self.slack.taken.append(one)
        (behave or ok)(self)

    def do_GET(self) -> None:
        self.answer(200, "<html>somebody else's page</html>")

    def answer(self, status: int, text: str, **headers: str) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Quiet."""


def ok(handler: Handler) -> None:
    if handler.path.startswith("/api/"):
        handler.answer(200, json.dumps({"ok": True, "ts": f"{time.time():.6f}", "channel": "C0FAKE"}))
    else:
        handler.answer(200, "ok")


def status(code: int, text: str = "", **headers: str) -> Behaviour:
    return lambda handler: handler.answer(code, text, **headers)


def too_many(seconds: int) -> Behaviour:
    return status(429, "", Retry_After=str(seconds))


def takes_and_hangs_up(handler: Handler) -> None:
    """The message is posted, and the connection breaks before the answer."""
    with handler.slack.lock:
        handler.slack.taken.append(handler.slack.received[-1])
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def slow(seconds: float) -> Behaviour:
    """It takes the message, and answers after that time."""

    def behave(handler: Handler) -> None:
        with handler.slack.lock:
            handler.slack.taken.append(handler.slack.received[-1])
        time.sleep(seconds)
        with contextlib.suppress(OSError):
            ok(handler)

    return behave


@contextlib.contextmanager
def serve_slack() -> Iterator[SlackServer]:
    server = SlackServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()
