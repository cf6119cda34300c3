"""Requests that two readers would take apart differently: refused by Nexus, alone and behind nginx."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.cluster.nginx import PROGRAM, Nginx
from tests.served import Served
from tests.services import MISSING

pytestmark = [pytest.mark.e2e, pytest.mark.once]
SMUGGLED = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\nuser-agent: smuggled\r\nx-api-key: {key}\r\n\r\n"


@dataclass(frozen=True)
class Try:
    name: str
    lines: str
    """Of the head, behind the host and the key."""
    body: str = "0\r\n\r\n"
    target: str = "/v1/messages"

    def __str__(self) -> str:
        return self.name


TRIES = [
    Try("length and chunks", "content-length: 5\r\ntransfer-encoding: chunked\r\n"),
    Try("chunks and length", "transfer-encoding: chunked\r\ncontent-length: 5\r\n"),
    Try("two lengths", "content-length: 0\r\ncontent-length: 5\r\n", ""),
    Try("a list of lengths", "content-length: 0, 5\r\n", ""),
    Try("a length with a sign", "content-length: +0\r\n", ""),
    Try("a length below zero", "content-length: -1\r\n", ""),
    Try("a length in hexadecimal", "content-length: 0x0\r\n", ""),
    Try("a length of letters", "content-length: zero\r\n", ""),
    Try("a length beyond 64 bits", "content-length: 18446744073709551616\r\n", ""),
    Try("a space before the colon", "transfer-encoding : chunked\r\n"),
    Try("a coding nobody has", "transfer-encoding: xchunked\r\n"),
    Try("chunks that are not last", "transfer-encoding: chunked, identity\r\n"),
    Try("a coding twice, in two ways", "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n"),
    Try("a folded coding", "transfer-encoding:\r\n chunked\r\ncontent-length: 5\r\n"),
    Try("a header without a name", ": chunked\r\ncontent-length: 0\r\n", ""),
    Try("a NUL in a header", "x-a: b\x00c\r\ncontent-length: 0\r\n", ""),
    Try("a bare CR in a header", "x-a: b\rtransfer-encoding: chunked\r\ncontent-length: 0\r\n", ""),
    Try("a chunk's size in words", "transfer-encoding: chunked\r\n", "zero\r\n\r\n"),
    Try("a chunk's size with a prefix", "transfer-encoding: chunked\r\n", "0x0\r\n\r\n"),
    Try("a chunk's size below zero", "transfer-encoding: chunked\r\n", "-1\r\n\r\n"),
    Try("a chunk's size beyond 64 bits", "transfer-encoding: chunked\r\n", "10000000000000000\r\n\r\n"),
    Try("a chunk longer than it says", "transfer-encoding: chunked\r\n", "1\r\nab\r\n0\r\n\r\n"),
]
BROKEN_EXTENSION = Try("a line break in a chunk's extension", "transfer-encoding: chunked\r\n", "0;a\nb\r\n\r\n")
"""nginx takes the line break for the chunk's end, and hands on requests that are framed anew."""


@pytest.fixture(scope="module", params=["alone", "behind nginx"])
def port(nexus: Served, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[int]:
    if request.param == "alone":
        yield nexus.port
        return
    if not PROGRAM:
        pytest.skip(f"nginx: its programs {MISSING}")
    folder = tmp_path_factory.mktemp("nginx")
    os.chmod(folder, 0o755)  # noqa: S103 (its worker is another user)
    proxy = Nginx(folder, [nexus.port, nexus.port])
    proxy.start()
    yield proxy.port
    proxy.stop()


def test_a_chunks_extension_hides_none_either(nexus: Served, standin: Standin) -> None:
    test_no_second_request_is_read_out_of_one(nexus, standin, nexus.port, BROKEN_EXTENSION)


@pytest.mark.parametrize("one", TRIES, ids=str)
def test_no_second_request_is_read_out_of_one(nexus: Served, standin: Standin, port: int, one: Try) -> None:
    key = nexus.key
    head = f"POST {one.target} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\n{one.lines}\r\n"
    with rawhttp.connection(port) as opened:
        opened.sendall((head + one.body + SMUGGLED.format(key=key)).encode("latin-1"))
        received = _all_of(opened)
    assert received.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501")), received[:300]
    if port == nexus.port:  # nginx says 400 to what it found behind a request, too
        assert received.count(b"HTTP/1.1 ") == 1
    assert not [row for row in nexus.rows("telemetry_exchange") if row["user_agent"] == "smuggled"]
    assert "smuggled" not in {dict(each.headers).get("user-agent") for each in standin.recorder.exchanges}


def test_a_host_in_the_target_does_not_lead_elsewhere(nexus: Served, standin: Standin, port: int) -> None:
    """The key decides about the domain; another host in the target is refused or means nothing."""
    before = standin.recorder.stats()["requests"]
    lines = ["GET http://evil.example/v1/models HTTP/1.1", "host: localhost", f"x-api-key: {nexus.key}"]
    with rawhttp.connection(port) as opened:
        opened.sendall("\r\n".join([*lines, "anthropic-version: 2023-06-01", "", ""]).encode())
        status = int(opened.recv(65536).split()[1])
    assert status in (200, 400, 401, 403, 404)
    assert standin.recorder.stats()["requests"] - before == (status == 200)


def _all_of(opened: socket.socket) -> bytes:
    """Until the other side closes: an ambiguous connection is not to be used again."""
    received = b""
    try:
        while more := opened.recv(65536):
            received += more
    except (ConnectionResetError, TimeoutError):
        pass
    return received
