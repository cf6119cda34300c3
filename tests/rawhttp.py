"""A client that sends exactly the bytes it is told to, and hides nothing of the answer."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    """As the transfer coding carried it, decoded."""
    is_complete: bool
    """The connection did not end before the answer did."""

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


@contextlib.contextmanager
def connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS) as opened:
        yield opened


def request(
    port: int,
    method: str,
    target: str,
    headers: list[tuple[str, str]],
    body: bytes = b"",
    *,
    declare_length: bool = True,
) -> Answer:
    with connection(port) as opened:
        opened.sendall(head(method, target, headers, len(body) if declare_length else None))
        opened.sendall(body if declare_length else chunked(body))
        return read_answer(opened, has_body=method != "HEAD")


def head(method: str, target: str, headers: list[tuple[str, str]], length: int | None) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if not any(name.lower() == "host" for name, _ in headers):
        lines.append("host: localhost")
    lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunked(body: bytes, size: int = 65536) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def read_answer(opened: socket.socket, *, has_body: bool = True) -> Answer:
    with opened.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        headers = []
        while line := stream.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name.lower(), value.strip()))
        fields = dict(headers)
        if not has_body:
            return Answer(status, headers, b"", True)
        if "chunked" in fields.get("transfer-encoding", ""):
            body, whole = _read_chunks(stream)
        else:
            length = int(fields.get("content-length", "0"))
            body = stream.read(length)
            whole = len(body) == length
        return Answer(status, headers, body, whole)


def _read_chunks(stream: "socket.SocketIO | object") -> tuple[bytes, bool]:
    parts: list[bytes] = []
    read_line, read = stream.readline, stream.read  # type: ignore[union-attr]
    while size_line := read_line().strip():
        if not (size := int(size_line, 16)):
            return b"".join(parts), True
        parts.append(read(size))
        read_line()
    return b"".join(parts), False
