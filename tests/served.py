"""A served Nexus as an operator runs it: a process of its own, in front of the stand-in for the Claude API."""

import atexit
import contextlib
import functools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import httpx
import psycopg
from psycopg.rows import dict_row

from telemetry.record import bodies, pieces
from tests.services import free_port

T = TypeVar("T")
FAKE_UPSTREAM_KEY = "sk-ant-api03-fake-key-of-the-served-nexus-0000"


def eventually(look: Callable[[], T], seconds: float = 30) -> T:
    """What `look` returns as soon as it is true; fails when it is not within the time, which is for a busy machine."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
    return found


EACH_FOR_ITSELF = {
    "RETRY_MAX_ATTEMPTS": "1",
    "CIRCUIT_BREAKER_FAILURE_THRESHOLD": "1000000",
    "CIRCUIT_BREAKER_VOLUME_THRESHOLD": "1000000",
    "COOLING_MAX_SECONDS": "0.001",
}
"""Nothing is tried again, and no failure has consequences for the next request: tests of those say so."""


@dataclass
class Served:
    """One `nexus serve` and what a test asks of it."""

    port: int
    data: Path
    database_url: str
    environment: dict[str, str] = field(repr=False)
    process: "subprocess.Popen[str]" = field(repr=False)
    key: str = field(default="", repr=False)
    workers: int = 1

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def nexus(self, *arguments: str) -> str:
        """What another `nexus` command on the same data prints."""
        command = [sys.executable, "-m", "nexus", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def run(self, code: str) -> str:
        """What a piece of Python prints with Django set up on the same data."""
        prelude = "import django; django.setup()\nfrom accounts.models import *\n"
        environment = {**self.environment, "DJANGO_SETTINGS_MODULE": "nexus.settings"}
        command = [sys.executable, "-c", prelude + code]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def exchange(self, request_id: str, seconds: float = 10) -> dict[str, Any]:
        """The row of an exchange, once it is there."""
        rows = eventually(
            lambda: [row for row in self.rows("telemetry_exchange") if UUID(str(row["id"])) == UUID(request_id)],
            seconds,
        )
        assert len(rows) == 1
        return rows[0]

    def exchange_of(self, user_agent: str) -> dict[str, Any]:
        """The row of the one exchange whose client called itself so, where no answer named its id."""
        rows = eventually(lambda: [row for row in self.rows("telemetry_exchange") if row["user_agent"] == user_agent])
        assert len(rows) == 1
        return rows[0]

    def bodies_of(self, request_id: str) -> tuple[bytes, bytes]:
        """The stored request and response of an exchange."""
        wanted = UUID(request_id)
        (row,) = eventually(
            lambda: [row for row in self.rows("telemetry_body") if UUID(str(row["exchange_id"])) == wanted]
        )
        request = bodies.decompress(bytes(row["request"]), bodies.ZSTD)
        if row["codec"] == bodies.PIECES:
            found = {UUID(str(piece["id"])): bytes(piece["data"]) for piece in self.rows("telemetry_piece")}
            request = pieces.join(request, {key: bodies.decompress(data, bodies.ZSTD) for key, data in found.items()})
        return request, bodies.decompress(bytes(row["response"]), bodies.ZSTD)

    def rows(self, table: str) -> list[dict[str, Any]]:
        query = f"SELECT * FROM {table}"
        if self.database_url:
            with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
                return connection.execute(query).fetchall()
        with contextlib.closing(sqlite3.connect(self.data / "nexus.db")) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query)]

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 15) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(seconds)


@contextlib.contextmanager
def serve(
    data: Path, upstream_url: str, *, workers: int = 1, database_url: str = "", **variables: str
) -> Iterator[Served]:
    """Serves on a fresh database of the kind that this run of the suite is about, or on the one that is named. It is
    a copy of a migrated one: to migrate from nothing takes two seconds of a processor (tests/e2e/test_demo.py does)."""
    if os.environ.get("DATABASE_URL"):
        database_url = database_url or new_database(template=migrated_on_postgres())
    elif not (data / "nexus.db").exists():
        shutil.copy(migrated_on_sqlite(), data / "nexus.db")
    environment = {
        **os.environ,
        "NEXUS_DATA": str(data),
        "CLAUDE_API_BASE_URL": upstream_url,
        "CLAUDE_API_KEY": FAKE_UPSTREAM_KEY,
        "PYTHONUNBUFFERED": "1",
        **EACH_FOR_ITSELF,
        **({"DATABASE_URL": database_url} if database_url else {}),
        **variables,
    }
    port = free_port()
    log = data / "serve.log"
    command = [sys.executable, "-m", "nexus", "serve", "--port", str(port), "--workers", str(workers)]
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True)
    served = Served(port, data, database_url, environment, process, workers=workers)
    try:
        eventually(lambda: _answers(served, log), seconds=30)
        served.key = next((word for word in log.read_text().split() if word.startswith("nxs_live_")), "")
        yield served
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def running(served: Served, role: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`nexus worker` or `nexus beat`, in a session of its own: what it starts goes with it."""
    with (served.data / f"{role}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "nexus", role],
            env=served.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: "subprocess.Popen[bytes]", number: signal.Signals = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    if number is signal.SIGKILL:
        process.wait()


def _answers(served: Served, log: Path) -> bool:
    assert served.process.poll() is None, log.read_text()
    try:
        return httpx.get(served.url, timeout=2, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def new_database(template: str = "template1") -> str:
    """A database of its own on the server of this run; it goes with the server."""
    name = f"served_{free_port()}_{time.monotonic_ns()}"
    url = os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@functools.cache
def migrated_on_sqlite() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="nexus-migrated-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _migrate(NEXUS_DATA=str(folder))
    return folder / "nexus.db"


@functools.cache
def migrated_on_postgres() -> str:
    url = new_database()
    _migrate(DATABASE_URL=url)
    return urlsplit(url).path.removeprefix("/")


def _migrate(**variables: str) -> None:
    command = [sys.executable, "-m", "nexus", "migrate"]
    subprocess.run(command, env={**os.environ, **variables}, capture_output=True, check=True)
