"""What clients, load balancers and supervisors meet while a served Nexus stops."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.load import MESSAGES, body_of
from tests.served import Served, eventually, serve

pytestmark = pytest.mark.e2e
SEVERAL = pytest.mark.skipif(not os.environ.get("DATABASE_URL"), reason="several workers need PostgreSQL and Redis")
SILENT = "[[standin silent_at=2]]"


def send(opened: socket.socket, nexus: Served, prompt: str = "Hello", *, stream: bool = False) -> None:
    body = json.dumps(body_of(prompt, stream=stream)).encode()
    headers = [("x-api-key", nexus.key), ("anthropic-version", "2023-06-01")]
    opened.sendall(rawhttp.head("POST", MESSAGES, headers, len(body)) + body)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def a_stream(nexus: Served) -> Iterator[socket.socket]:
    """That has begun and does not end by itself."""
    with rawhttp.connection(nexus.port) as opened:
        send(opened, nexus, SILENT, stream=True)
        while b"text_delta" not in opened.recv(65536):
            pass
        yield opened


def test_a_request_on_an_open_connection_is_still_answered(standin: Standin, tmp_path: Path) -> None:
    """A proxy in front cannot know yet that this connection is to be closed, and must not send a message twice."""
    with serve(tmp_path, standin.url) as nexus, rawhttp.connection(nexus.port) as opened:
        send(opened, nexus)
        first = rawhttp.read_answer(opened)
        assert (first.status, first.header("connection")) == (200, "")
        nexus.process.send_signal(signal.SIGTERM)
        eventually(lambda: not is_open(nexus.port))
        send(opened, nexus)
        last = rawhttp.read_answer(opened)
        assert (last.status, last.header("connection")) == (200, "close")
        assert opened.recv(1) == b""
        assert nexus.process.wait(15) == 0
        for answer in (first, last):
            assert nexus.exchange(answer.header("x-nexus-request-id"), seconds=0.1)["outcome"] == "completed"


def test_for_the_notice_it_is_not_ready_and_still_serves(standin: Standin, tmp_path: Path) -> None:
    with serve(tmp_path, standin.url, NEXUS_DRAIN_NOTICE_SECONDS="3") as nexus:

        def probe(path: str) -> rawhttp.Answer:
            return rawhttp.request(nexus.port, "GET", path, [("host", "10.1.2.3")])

        assert probe("/readyz").status == 200
        told_at = time.monotonic()
        nexus.process.send_signal(signal.SIGTERM)
        eventually(lambda: probe("/readyz").status == 503, seconds=1)
        assert json.loads(probe("/readyz").body)["checks"]["draining"]["status"] == "unhealthy"
        assert probe("/livez").status == 200
        with rawhttp.connection(nexus.port) as opened:
            send(opened, nexus)
            answer = rawhttp.read_answer(opened)
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert time.monotonic() - told_at < 3, "all this was within the notice"
        eventually(lambda: not is_open(nexus.port))
        assert time.monotonic() - told_at >= 3
        assert nexus.process.wait(15) == 0


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=SEVERAL)])
def test_a_second_sigterm_ends_it_at_once(standin: Standin, tmp_path: Path, workers: int) -> None:
    with serve(tmp_path, standin.url, workers=workers) as nexus, a_stream(nexus) as opened:
        nexus.process.send_signal(signal.SIGTERM)
        eventually(lambda: not is_open(nexus.port))
        assert nexus.process.poll() is None, "the stream goes on"
        assert nexus.stop(signal.SIGTERM, seconds=10) == 0
        while opened.recv(65536):
            pass
        (row,) = nexus.rows("telemetry_exchange")
        assert row["outcome"] == "interrupted"


@SEVERAL
def test_workers_stop_when_their_parent_is_killed(standin: Standin, tmp_path: Path) -> None:
    """Else they would hold the port for ever, and nobody could start Nexus again."""
    with serve(tmp_path, standin.url, workers=2, NEXUS_DRAIN_SECONDS="5") as nexus:
        with rawhttp.connection(nexus.port) as opened:
            send(opened, nexus, "[[standin deltas=20 delay_ms=50]]", stream=True)
            while b"text_delta" not in opened.recv(65536):
                pass
            nexus.process.kill()
            rest = b""
            while more := opened.recv(65536):
                rest += more
            assert b"message_stop" in rest, "what runs is brought to its end"
        eventually(lambda: not is_open(nexus.port))
        (row,) = eventually(lambda: nexus.rows("telemetry_exchange"))
        assert row["outcome"] == "completed"
