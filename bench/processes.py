"""The processes of the bench: started on their cores, watched, and always ended."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_server
from time import monotonic, sleep

import httpx

READY_SECONDS = 60


class NotReady(Exception):
    """A server did not start; says why, as far as its output tells."""


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    url: str
    key: str
    process: subprocess.Popen[str] | None = None

    def rss_mb(self) -> float:
        """Resident memory of the process and its children; 0 where /proc does not tell."""
        return sum(map(_rss_kb, family(self.process.pid))) / 1024 if self.process else 0.0


LIMIT = "1000000000"
"""Of requests and of tokens, for the key and for the domain: counted with every request, and out of reach."""


def cores() -> tuple[int | None, int | None]:
    """One core for the load and the stand-in, one for the server; None where there is nothing to part."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (None, None)


def pin(core: int | None) -> None:
    """This process, and those that it will start."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def allow_many_connections() -> None:
    """1,000 relayed streams take 2,000 file descriptors of one process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = 65_536 if hard == resource.RLIM_INFINITY else min(65_536, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))


@contextmanager
def standin() -> Iterator[str]:
    """The URL of the fast stand-in, on the core of this process."""
    with _running([sys.executable, "-m", "bench.standin", "--fast"], None) as process:
        yield _announced(process)


@contextmanager
def raw(upstream: str, core: int | None) -> Iterator[Server]:
    with _running([sys.executable, "-m", "bench.raw", "--upstream", upstream], core) as process:
        yield Server("raw limit", _announced(process), "sk-ant-api03-fake-bench", process)


@contextmanager
def nexus(upstream: str, core: int | None, directory: Path) -> Iterator[Server]:
    """Nexus with everything on, its data in *directory*. Raises NotReady."""
    environment = os.environ | {
        "NEXUS_DATA": str(directory),
        "DEBUG": "true",
        "CLAUDE_API_BASE_URL": upstream,
        "CLAUDE_API_KEY": "sk-ant-api03-fake-bench",
        **{f"{scope}RATE_LIMIT_MAX_{what}": LIMIT for scope in ("", "DOMAIN_") for what in ("REQUESTS", "TOKENS")},
    }
    command = [sys.executable, "-m", "nexus"]
    _finish([*command, "migrate"], environment)
    issue = ["issue-key", "--create-domain", "--domain", "localhost", "--name", "bench"]
    key = _finish([*command, *issue], environment).strip()
    port = _free_port()
    log = directory / "serve.log"
    with log.open("w") as output:
        serve = [*command, "serve", "--host", "127.0.0.1", "--port", str(port)]
        with _running(serve, core, environment, output.fileno()) as process:
            # By name: a domain is found by its host name, and 127.0.0.1 is nobody's.
            server = Server("Nexus", f"http://localhost:{port}", key, process)
            _wait_until_ready(server, log)
            yield server


@contextmanager
def _running(
    command: list[str],
    core: int | None,
    environment: dict[str, str] | None = None,
    output: int = subprocess.PIPE,
) -> Iterator[subprocess.Popen[str]]:
    errors = subprocess.STDOUT if output != subprocess.PIPE else None
    process = subprocess.Popen(
        command, env=environment, stdout=output, stderr=errors, text=True, preexec_fn=lambda: pin(core)
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _announced(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline() if process.stdout else ""
    if not line.startswith("listening on "):
        raise NotReady(f"{process.args!r} did not say where it listens")
    return line.removeprefix("listening on ").strip()


def _finish(command: list[str], environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired as error:
        raise NotReady(f"{' '.join(command[1:])} took too long") from error
    if done.returncode:
        raise NotReady(f"{' '.join(command[1:])} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def _wait_until_ready(server: Server, log: Path) -> None:
    deadline = monotonic() + READY_SECONDS
    while monotonic() < deadline and server.process and server.process.poll() is None:
        try:
            if httpx.get(server.url, timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass  # not yet
        sleep(0.1)
    raise NotReady(f"{server.name} did not answer GET / with 200:\n{log.read_text()[-2000:]}")


def _free_port() -> int:
    with create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return [pid, *(relative for child in children for relative in family(int(child)))]


def _rss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)
