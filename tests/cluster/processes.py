"""Processes of a cluster, each of which can be killed, told to stop, and started again where it was."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


class Role:
    """`nexus <arguments>` in a session of its own: what it starts goes with it."""

    def __init__(self, name: str, arguments: tuple[str, ...], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "nexus", *arguments]
        self._environment = dict(environment)
        self.log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, f"{self.name} was not started"
        return self._process

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float) -> int:
        return self.process.wait(seconds)

    def kill_all(self) -> None:
        """It and all that it started, as when the machine goes."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def children(self) -> list[int]:
        """Processes that it started and that run."""
        pid = self.process.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in found if b"resource_tracker" not in _command_of(child)]


def _command_of(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
