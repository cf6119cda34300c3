"""Limits of a served Nexus while its Redis is stopped, hangs, or forgets everything: under load, and nobody notices."""

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from redis import Redis

from bench.standin import Standin
from telemetry.limits.meters import Meter, as_units
from telemetry.limits.script import PREFIX
from telemetry.limits.shared import REPLY_SECONDS, SharedStore
from telemetry.limits.store import Use
from tests.e2e.test_limits import ask, error_of
from tests.rawhttp import Answer
from tests.served import Served, eventually, serve
from tests.services import RedisServer
from tests.telemetry.limits.schedules import budget_of
from tests.telemetry.limits.stores import running

pytestmark = [pytest.mark.e2e, pytest.mark.once_in_cluster]
WORKERS = 2 if os.environ.get("DATABASE_URL") else 1
"""Several need PostgreSQL."""
CLIENTS = 6


@contextlib.contextmanager
def served(data: Path, standin: Standin, redis: RedisServer) -> Iterator[Served]:
    """With limits that are never reached."""
    none = dict.fromkeys(("DOMAIN_RATE_LIMIT_MAX_REQUESTS", "DOMAIN_RATE_LIMIT_MAX_TOKENS"), "0")
    with serve(data, standin.url, workers=WORKERS, REDIS_URL=redis.url, **dict[str, Any](none)) as nexus:
        nexus.run(
            "key = ClientKey.objects.get()\n"
            "Budget.objects.create(name='Daily', client_key=key, period='day', amount_usd='1000')\n"
            "RateLimit.objects.create(client_key=key, concurrent_requests=1000, requests_per_minute=1000000)"
        )
        eventually(lambda: ask(nexus).status == 200 and purse(redis), seconds=15)  # every worker knows of it soon
        yield nexus


class Load:
    """Programs that ask one thing after another, as long as the block lasts."""

    def __init__(self, nexus: Served) -> None:
        self._nexus = nexus
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        self.statuses: list[int] = []
        self.failures: list[Answer] = []
        self.slowest_seconds = 0.0

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self, requests: int = 60) -> None:
        wanted = len(self.statuses) + requests
        eventually(lambda: len(self.statuses) >= wanted, seconds=30)

    def _ask(self) -> None:
        while not self._is_over.is_set():
            started = time.perf_counter()
            answer = ask(self._nexus)
            self.statuses.append(answer.status)
            if answer.status != 200:
                self.failures.append(answer)
            self.slowest_seconds = max(self.slowest_seconds, time.perf_counter() - started)


def counted(nexus: Served) -> str:
    """As several answers in a row say it: each worker is asked."""
    found = {health(nexus)["limits"]["limits"] for _ in range(8)}
    words = {each.split(" since ")[0] for each in found}
    return words.pop() if len(words) == 1 else ""


def health(nexus: Served) -> dict[str, Any]:
    answer = httpx.get(f"{nexus.url}/health", trust_env=False, timeout=10)
    assert answer.status_code == 200
    checks: dict[str, Any] = answer.json()["checks"]
    return checks


def spent_on_record(nexus: Served) -> int:
    return sum(
        as_units(Decimal(str(row["cost"]))) for row in nexus.rows("telemetry_exchange") if row["cost"] is not None
    )


def purse(redis: RedisServer) -> tuple[int, int] | None:
    """What Redis says is spent of the budget, and held by running requests."""
    with Redis.from_url(redis.url, decode_responses=True) as client:
        hashes = [key for key in client.scan_iter(f"{PREFIX}*") if client.type(key) == "hash"]
        purses = [key.removeprefix(PREFIX) for key in hashes if client.hexists(key, "s")]
    if not purses:
        return None
    meter = msgspec.structs.replace(budget_of(0), key=purses[0])
    use = asyncio.run(_use(redis.url, meter))
    return use.used - use.held, use.held


async def _use(url: str, meter: Meter) -> Use:
    async with running(SharedStore(url)) as store:
        return (await store.read([meter]))[0]


def check_sums(nexus: Served, redis: RedisServer, answered: int) -> None:
    """Every request is on record, and the counter says what the record says. (A Redis that hung reserves, once it goes
    on, for requests that do not wait any more: until the lease ends.)"""
    eventually(lambda: (purse(redis) or (0, 0))[0] == spent_on_record(nexus), seconds=10)
    eventually(lambda: purse(redis) == (spent_on_record(nexus), 0), seconds=30)
    assert spent_on_record(nexus) > 0
    assert len(nexus.rows("telemetry_exchange")) >= answered


DISTURBANCES: dict[str, Callable[[RedisServer], None]] = {
    "stopped": lambda redis: redis.stop(),
    "hanging": lambda redis: redis.signal(signal.SIGSTOP),
}
REPAIRS: dict[str, Callable[[RedisServer], None]] = {
    "stopped": lambda redis: redis.start(),
    "hanging": lambda redis: redis.signal(signal.SIGCONT),
}


@pytest.mark.parametrize("how", DISTURBANCES)
def test_no_request_fails_while_redis_is_away(
    standin: Standin, own_redis: RedisServer, tmp_path: Path, how: str
) -> None:
    with served(tmp_path, standin, own_redis) as nexus:
        with Load(nexus) as load:
            load.goes_on()
            eventually(lambda: counted(nexus) == "shared")
            DISTURBANCES[how](own_redis)
            load.goes_on()
            eventually(lambda: counted(nexus) == "per process", seconds=30)
            load.goes_on()
            REPAIRS[how](own_redis)
            eventually(lambda: counted(nexus) == "shared", seconds=30)
            load.goes_on()
        assert not load.failures
        assert load.slowest_seconds < REPLY_SECONDS + 2
        check_sums(nexus, own_redis, len(load.statuses))


def test_what_redis_forgets_is_told_again(standin: Standin, own_redis: RedisServer, tmp_path: Path) -> None:
    with served(tmp_path, standin, own_redis) as nexus, Redis.from_url(own_redis.url) as client:
        with Load(nexus) as load:
            for _ in range(3):
                load.goes_on()
                client.flushall()
            load.goes_on()
        assert not load.failures
        assert counted(nexus) == "shared"
        check_sums(nexus, own_redis, len(load.statuses))


def test_each_process_limits_while_redis_is_away(standin: Standin, own_redis: RedisServer, tmp_path: Path) -> None:
    with serve(tmp_path, standin.url, workers=WORKERS, REDIS_URL=own_redis.url, RATE_LIMIT_MAX_REQUESTS="3") as nexus:
        assert ask(nexus).status == 200
        own_redis.stop()
        answers = [ask(nexus) for _ in range(3 * WORKERS + 6)]
        refused = [answer for answer in answers if answer.status == 429]
        assert {answer.status for answer in answers} == {200, 429}
        assert len(answers) - len(refused) <= 3 * WORKERS
        assert {error_of(answer)["type"] for answer in refused} == {"rate_limit_error"}
