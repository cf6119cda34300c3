"""`nexus demo` as a person at a terminal meets it: no key, no internet, no database but its own."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import clients
from tests.served import eventually
from tests.services import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.once]


@dataclass(frozen=True)
class Demo:
    data: Path
    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def printed(self) -> str:
        return (self.data / "demo.log").read_text()

    def pasted(self, start: str) -> str:
        """The printed line to paste that has *start* in it."""
        (line,) = (line for line in self.printed.splitlines() if line.startswith("  ") and start in line)
        return line.strip()

    def exchanges(self) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.data / "nexus.db")) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute("SELECT * FROM telemetry_exchange")]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(5)


@contextmanager
def demo(data: Path, *options: str, **variables: str) -> Iterator[Demo]:
    port = free_port()
    command = [sys.executable, "-m", "nexus", "demo", "--port", str(port), "--data", str(data), *options]
    with (data / "demo.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | variables, stdout=log, stderr=subprocess.STDOUT)
    running = Demo(data, port, process)
    try:
        eventually(lambda: _listens(running), 30)
        yield running
    finally:
        process.kill()
        process.wait()


def _listens(running: Demo) -> bool:
    assert running.process.poll() is None, running.printed
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", running.port)) == 0


def test_its_traffic_arrives_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    with demo(tmp_path) as running:
        assert f"Nexus serves http://127.0.0.1:{running.port}" in running.printed
        assert str(tmp_path) in running.printed
        eventually(lambda: len(running.exchanges()) >= 3, 30)
        assert {row["credential_source"] for row in running.exchanges()} == {"environment"}
        assert running.stop() == 0
        assert "Traceback" not in running.printed


def test_what_is_configured_for_the_real_one_is_left_alone(tmp_path: Path) -> None:
    """A database and a Redis that nobody may knock at, and secrets that the demo could not start with."""
    with socket.create_server(("127.0.0.1", 0)) as forbidden:
        forbidden.setblocking(False)
        address = f"127.0.0.1:{forbidden.getsockname()[1]}"
        variables = {
            "DATABASE_URL": f"postgres://someone@{address}/production",
            "REDIS_URL": f"redis://{address}/0",
            "NEXUS_ENCRYPTION_KEYS": "not a key",
            "CLAUDE_API_KEY": "sk-ant-api03-fake-key-of-production-0000",
            "CLAUDE_API_BASE_URL": f"http://{address}",
        }
        with demo(tmp_path, **variables) as running:
            eventually(running.exchanges, 30)
            assert running.stop() == 0
        with pytest.raises(BlockingIOError):
            forbidden.accept()


def test_it_keeps_its_data(tmp_path: Path) -> None:
    with demo(tmp_path) as first:
        eventually(first.exchanges, 30)
        first.stop()
        before = {row["id"] for row in first.exchanges()}
    with demo(tmp_path) as second:
        assert "shown once" not in second.printed
        assert before <= {row["id"] for row in second.exchanges()}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with demo(tmp_path_factory.mktemp("demo"), "--no-traffic") as running:
        yield running


def paste(running: Demo, start: str, tmp_path: Path) -> str:
    """What bash says to a printed line, pasted with the programs of the tests in reach."""
    path = os.pathsep.join((str(Path(sys.executable).parent), str(clients.CLAUDE.parent), os.environ["PATH"]))
    done = subprocess.run(
        ["bash", "-c", running.pasted(start)],
        env=clients.environment(tmp_path, PATH=path),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=clients.TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not here")
def test_the_line_for_curl_can_be_pasted(quiet: Demo, tmp_path: Path) -> None:
    assert json.loads(paste(quiet, "curl ", tmp_path))["stop_reason"] == "end_turn"


def test_the_line_for_python_can_be_pasted(quiet: Demo, tmp_path: Path) -> None:
    assert paste(quiet, "python -c", tmp_path).strip()


@clients.missing
def test_the_line_for_claude_code_can_be_pasted(quiet: Demo, tmp_path: Path) -> None:
    assert paste(quiet, "claude -p", tmp_path).strip()


def test_it_says_that_the_port_is_taken(quiet: Demo, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nexus", "demo", "--port", str(quiet.port), "--data", str(tmp_path)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert second.returncode != 0
    assert "in use" in second.stderr
