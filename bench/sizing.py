"""`python -m bench.sizing`: what one request costs each part of a cluster, for the arithmetic of docs/sizing.md.

One web process on one core, on the PostgreSQL of DATABASE_URL and the Redis of REDIS_URL, which are to be on this
machine, not busy with anything else, and to throw away: it writes there. Processor time is what the kernel has counted
for the processes, until all is stored.
"""

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psycopg
import redis
import uvloop

from bench import load, processes
from bench.measures import prompt
from bench.processes import Server

TICKS = os.sysconf("SC_CLK_TCK")
STORED_SECONDS = 120
COLUMNS = (
    "requests/s",
    "web ms",
    "PostgreSQL ms",
    "Redis ms",
    "Redis commands",
    "Redis bytes",
    "WAL bytes",
    "stored bytes",
)
"""The first is what one web process on one core answered; the others are for each request."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Since each of them began. Seconds of a processor, bytes, counts."""

    web_seconds: float
    postgres_seconds: float
    redis_seconds: float
    redis_commands: int
    redis_bytes: int
    wal_bytes: int
    database_bytes: int


class Meters:
    def __init__(self, web_pid: int, database_url: str, redis_url: str) -> None:
        self._web_pid = web_pid
        self._database = psycopg.connect(database_url, autocommit=True)
        self._redis = redis.Redis.from_url(redis_url)
        self._postmaster = _parent(int(self._asked("SELECT pg_backend_pid()")))

    def now(self) -> Spent:
        said: dict[str, Any] = self._redis.info()
        return Spent(
            web_seconds=_seconds_of(self._web_pid),
            postgres_seconds=_seconds_of(self._postmaster),
            redis_seconds=said["used_cpu_sys"] + said["used_cpu_user"],
            redis_commands=said["total_commands_processed"],
            redis_bytes=said["total_net_input_bytes"] + said["total_net_output_bytes"],
            wal_bytes=int(self._asked("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")),
            database_bytes=int(self._asked("SELECT pg_database_size(current_database())")),
        )

    def wait_until_stored(self, count: int) -> None:
        deadline = monotonic() + STORED_SECONDS
        while int(self._asked("SELECT count(*) FROM telemetry_exchange")) < count:
            if monotonic() > deadline:
                raise processes.NotReady(f"not all of {count:,} exchanges were stored within {STORED_SECONDS} s")
            sleep(0.2)

    def _asked(self, query: str) -> str:
        [(value,)] = self._database.execute(query).fetchall()
        return str(value)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.sizing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=10_000, help="of each kind (10,000)")
    options = parser.parse_args()
    try:
        urls = os.environ["DATABASE_URL"], os.environ["REDIS_URL"]
    except KeyError as missing:
        sys.exit(f"bench: {missing.args[0]} is not set")
    load_core, server_core = processes.cores()
    processes.pin(load_core)
    try:
        with (
            processes.standin() as upstream,
            tempfile.TemporaryDirectory() as directory,
            processes.nexus(upstream, server_core, Path(directory)) as server,
        ):
            if server.process is None:
                raise processes.NotReady("the web process is not there")
            _measure(server, Meters(server.process.pid, *urls), options.requests)
    except processes.NotReady as problem:
        sys.exit(f"bench: {problem}")


def _measure(server: Server, meters: Meters, requests: int) -> None:
    print(
        "| | requests/s | web ms | PostgreSQL ms | Redis ms | Redis commands | Redis bytes | WAL bytes | stored bytes |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    stored = uvloop.run(load.run(prompt(server, 4), requests=500, seconds=60)).count  # warms up
    for label, target, count in (
        ("JSON, 4 KB", prompt(server, 4), requests),
        ("streams, 4 KB", prompt(server, 4, stream=True), requests),
        ("JSON, 100 KB", prompt(server, 100), requests // 2),
    ):
        meters.wait_until_stored(stored)
        before = meters.now()
        result = uvloop.run(load.run(target, connections=32, requests=count, seconds=STORED_SECONDS))
        if result.errors:
            raise processes.NotReady(f"{result.errors} of {result.count} requests failed")
        stored += result.count
        meters.wait_until_stored(stored)
        print(_line(label, result.rate, result.count, before, meters.now()), flush=True)


def _line(label: str, rate: float, count: int, before: Spent, after: Spent) -> str:
    milliseconds = [
        (getattr(after, name) - getattr(before, name)) * 1000 / count
        for name in ("web_seconds", "postgres_seconds", "redis_seconds")
    ]
    counted = [
        (getattr(after, name) - getattr(before, name)) / count
        for name in ("redis_commands", "redis_bytes", "wal_bytes", "database_bytes")
    ]
    cells = [f"{rate:,.0f}", *(f"{each:.3f}" for each in milliseconds), f"{counted[0]:.2f}"]
    return f"| {label} | {' | '.join([*cells, *(f'{each:,.0f}' for each in counted[1:])])} |"


def _seconds_of(pid: int) -> float:
    """Of a process, its children, and those of its children that have ended."""
    total = 0.0
    for each in processes.family(pid):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended just now: its parent has its time
        total += sum(map(int, fields[11:15])) / TICKS
    return total


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


if __name__ == "__main__":
    main()
