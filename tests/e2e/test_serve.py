"""`nexus serve` as a person at a terminal meets it: what it makes once, what it prints, how it stops."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.served import eventually, serve
from tests.services import free_port

pytestmark = pytest.mark.e2e

HELLO = json.dumps(
    {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
).encode()


@pytest.mark.once
def test_it_prints_secrets_once_and_keeps_the_data(standin: Standin, tmp_path: Path) -> None:
    with serve(tmp_path, standin.url) as first:
        key = first.key
        welcome = (tmp_path / "serve.log").read_text()
        assert "shown once" in welcome
        assert f"ANTHROPIC_AUTH_TOKEN={key} claude -p" in welcome
        assert len(welcome.strip().splitlines()) <= 10
        database_url = first.database_url
        assert first.stop(signal.SIGINT) == 0
    with serve(tmp_path, standin.url, database_url=database_url) as second:
        assert second.key == ""
        welcome = (tmp_path / "serve.log").read_text()
        assert "nxs_live_" not in welcome
        assert "shown once" not in welcome
        assert rawhttp.request(second.port, "POST", "/v1/messages", [("x-api-key", key)], HELLO).status == 400
        assert (
            rawhttp.request(
                second.port,
                "POST",
                "/v1/messages",
                [("x-api-key", key), ("anthropic-version", "2023-06-01")],
                HELLO,
            ).status
            == 200
        )


@pytest.mark.once
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_within_two_seconds_when_idle(standin: Standin, tmp_path: Path, number: signal.Signals) -> None:
    with serve(tmp_path, standin.url) as served:
        # An open, idle connection is no work.
        with rawhttp.connection(served.port):
            began = time.monotonic()
            assert served.stop(number) == 0
            assert time.monotonic() - began < 2
        assert "Traceback" not in (tmp_path / "serve.log").read_text()


def test_what_was_answered_last_is_on_record_after_the_stop(standin: Standin, tmp_path: Path) -> None:
    with serve(tmp_path, standin.url, STORAGE_BATCH_INTERVAL="60000") as served:
        headers = [("x-api-key", served.key), ("anthropic-version", "2023-06-01")]
        answer = rawhttp.request(served.port, "POST", "/v1/messages", headers, HELLO)
        assert served.stop(signal.SIGTERM) == 0
        row = served.exchange(answer.header("x-nexus-request-id"), seconds=0.1)
        assert row["outcome"] == "completed"


def test_a_stop_ends_what_takes_too_long_and_records_it(standin: Standin, tmp_path: Path) -> None:
    body = json.dumps(
        {"model": "claude-haiku-4-5", "max_tokens": 64, "stream": True}
        | {"messages": [{"role": "user", "content": "[[standin silent_at=2]]"}]}
    ).encode()
    with serve(tmp_path, standin.url, NEXUS_DRAIN_SECONDS="1") as served, rawhttp.connection(served.port) as opened:
        headers = [("x-api-key", served.key), ("anthropic-version", "2023-06-01"), ("user-agent", "is cut short")]
        opened.sendall(rawhttp.head("POST", "/v1/messages", headers, len(body)) + body)
        received = b""
        while b"text_delta" not in received:
            received += opened.recv(65536)
        assert served.stop() == 0
        while more := opened.recv(65536):
            received += more
        event = received.rpartition(b"event: error\ndata: ")[2].splitlines()[0]
        assert json.loads(event)["error"]["type"] == "api_error"
        row = served.exchange_of("is cut short")
        assert (row["outcome"], row["usage_source"]) == ("interrupted", "estimated")


def test_a_second_signal_ends_the_drain_at_once(standin: Standin, tmp_path: Path) -> None:
    body = json.dumps(
        {"model": "claude-haiku-4-5", "max_tokens": 64, "stream": True}
        | {"messages": [{"role": "user", "content": "[[standin silent_at=2]]"}]}
    ).encode()
    with serve(tmp_path, standin.url) as served, rawhttp.connection(served.port) as opened:
        headers = [("x-api-key", served.key), ("anthropic-version", "2023-06-01"), ("user-agent", "is cut at once")]
        opened.sendall(rawhttp.head("POST", "/v1/messages", headers, len(body)) + body)
        while b"text_delta" not in opened.recv(65536):
            pass
        served.process.send_signal(signal.SIGINT)
        eventually(lambda: not _listens(served.port))
        assert served.stop(signal.SIGINT, seconds=5) == 0
        assert served.exchange_of("is cut at once")["outcome"] == "interrupted"
        assert "Traceback" not in (tmp_path / "serve.log").read_text()


@pytest.mark.once
def test_it_serves_on_daphne_too(standin: Standin, tmp_path: Path) -> None:
    """A supported second server, which has no lifespan: Nexus starts with the first request."""
    with serve(tmp_path, standin.url) as first:
        first.stop()
        port = free_port()
        environment = first.environment | {"STORAGE_BATCH_INTERVAL": "20"}
        command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "nexus.asgi:application"]
        process = subprocess.Popen(command, env=environment)
        try:
            eventually(lambda: _listens(port))
            headers = [("x-api-key", first.key), ("anthropic-version", "2023-06-01")]
            answer = rawhttp.request(port, "POST", "/v1/messages", headers, HELLO)
            assert answer.status == 200
            assert first.exchange(answer.header("x-nexus-request-id"))["outcome"] == "completed"
        finally:
            process.terminate()
            process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.once
def test_it_says_that_the_port_is_taken(standin: Standin, tmp_path: Path) -> None:
    with serve(tmp_path, standin.url) as served:
        command = [sys.executable, "-m", "nexus", "serve", "--port", str(served.port)]
        second = subprocess.run(command, env=served.environment, capture_output=True, text=True, timeout=30)
        assert second.returncode != 0
        assert "in use" in second.stdout + second.stderr


@pytest.mark.once
def test_it_does_not_start_with_a_wrong_encryption_key(standin: Standin, tmp_path: Path) -> None:
    with serve(tmp_path, standin.url) as served:
        served.stop()
        environment = served.environment | {"NEXUS_ENCRYPTION_KEYS": "A" * 43 + "="}
        command = [sys.executable, "-m", "nexus", "serve", "--port", str(free_port())]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
        assert done.returncode == 2
        assert "NEXUS_ENCRYPTION_KEYS" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="several workers need PostgreSQL and Redis")
def test_several_workers_serve_one_port(standin: Standin, tmp_path: Path) -> None:
    with serve(tmp_path, standin.url, workers=2) as served:
        headers = [("x-api-key", served.key), ("anthropic-version", "2023-06-01")]
        answers = [rawhttp.request(served.port, "POST", "/v1/messages", headers, HELLO) for _ in range(20)]
        assert {answer.status for answer in answers} == {200}
        for answer in answers:
            assert served.exchange(answer.header("x-nexus-request-id"))["outcome"] == "completed"
        assert served.stop() == 0
