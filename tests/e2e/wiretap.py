"""A relay between a client and a server that passes every byte on and keeps what the client sent."""

import contextlib
import io
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: list[tuple[str, str]]
    """In the order in which they were sent, the names lowered."""
    body: bytes


class Wiretap(socketserver.ThreadingTCPServer):
    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.to = ("127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.sent: list[bytearray] = []
        """What came in, connection by connection."""

    def requests(self) -> list[Request]:
        """Those with a content-length or without a body."""
        return [request for sent in self.sent for request in _parse(bytes(sent))]


class _Connection(socketserver.BaseRequestHandler):
    server: Wiretap

    def handle(self) -> None:
        sent = bytearray()
        self.server.sent.append(sent)
        with socket.create_connection(self.server.to) as onward:
            answers = threading.Thread(target=_pump, args=(onward, self.request, bytearray()))
            answers.start()
            _pump(self.request, onward, sent)
            answers.join()


@contextlib.contextmanager
def wiretap(port: int) -> Iterator[Wiretap]:
    """In front of the server on *port* of this machine. Its clients have to be gone when the block ends."""
    with Wiretap(port) as tap:
        thread = threading.Thread(target=tap.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield tap
        finally:
            tap.shutdown()
            thread.join()


def _pump(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
    """Until one side is gone; the other then hears it."""
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            kept += piece
            sink.sendall(piece)
    for side in (source, sink):
        with contextlib.suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)


def _parse(sent: bytes) -> Iterator[Request]:
    stream = io.BytesIO(sent)
    while line := stream.readline().decode("latin-1"):
        method, target, _ = line.split(" ")
        headers = []
        while field := stream.readline().strip():
            name, _, value = field.decode("latin-1").partition(":")
            headers.append((name.lower(), value.strip()))
        yield Request(method, target, headers, stream.read(int(dict(headers).get("content-length", 0))))
