"""A telemetry endpoint: answers as it is told, and keeps what it heard."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Endpoint:
    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[tuple[int, dict[str, str]]] = []
        """What it says next, first to last; 200 when there is nothing left. Status 0: it hangs up."""
        self.refuses = ""
        """A body that holds this is answered with 400."""
        self.refuses_all = False
        self.answers_after_seconds = 0.0
        self.bodies: list[Any] = []
        """What it confirmed."""
        self.raw = b""
        """All that it heard, its headers too."""
        self.asked = 0

    @property
    def request_ids(self) -> list[str]:
        return [fact["requestId"] for body in self.bodies for fact in (body if isinstance(body, list) else [body])]


@contextlib.contextmanager
def endpoint() -> Iterator[Endpoint]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            heard.raw += body + str(self.headers).encode()
            status, headers = heard.answers.pop(0) if heard.answers else (200, {})
            heard.asked += 1
            if heard.refuses_all or (heard.refuses and heard.refuses.encode() in body):
                status = 400
            closing.wait(heard.answers_after_seconds)
            if not status:
                self.close_connection = True
                return
            if status < 300:
                heard.bodies.append(json.loads(body))
            with contextlib.suppress(OSError):  # whoever asked may be gone
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    closing = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    heard = Endpoint(f"http://127.0.0.1:{server.server_port}/telemetry?token=fake-token")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield heard
    finally:
        closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
