"""A collector: takes spans by OTLP over http, and keeps them."""

import contextlib
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    def __init__(self, url: str) -> None:
        self.url = url
        self.statuses: list[int] = []
        """What it says next, first to last; 200 when there is nothing left. What it refuses it does not keep."""
        self.is_silent = threading.Event()
        """While set, it takes requests and does not answer."""
        self.spans: list[Span] = []
        self.raw = b""
        self.headers: list[dict[str, str]] = []
        self.resources: list[dict[str, Any]] = []

    def keep(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            self.resources.append(attributes(resource.resource))
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)


def attributes(span: Any) -> dict[str, Any]:
    """Of a span or a resource."""
    found = {}
    for pair in span.attributes:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        found[pair.key] = [each.string_value for each in value.values] if kind == "array_value" else value
    return found


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            taken.raw += body
            taken.headers.append({name.lower(): value for name, value in self.headers.items()})
            while taken.is_silent.is_set() and not closing.wait(0.01):
                pass
            status = taken.statuses.pop(0) if taken.statuses else 200
            if status == 200:
                taken.keep(ExportTraceServiceRequest.FromString(body))
            with contextlib.suppress(OSError):  # whoever asked may be gone
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    closing = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    taken = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield taken
    finally:
        closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
