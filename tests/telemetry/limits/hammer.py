"""One of several processes that press upon the same limits: `python -m tests.telemetry.limits.hammer URL RUN SECONDS`.

Prints what it was granted and what it used, as JSON. Moments are those of the machine's monotonic clock, which all its
processes share, and of the store.
"""

import asyncio
import json
import random
import sys
import time
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from accounts.ids import new_id
from telemetry.limits.meters import Account, Dimension, Meter
from telemetry.limits.shared import SharedStore
from telemetry.limits.store import Granted, Settlement, Want
from tests.telemetry.limits.stores import running

TASKS = 32
PLACES = 8
REQUESTS, WINDOW_MS = 60, 1000
PLENTY = 10**15


class Grant(msgspec.Struct):
    at_ms: int
    from_ns: int
    until_ns: int
    tokens: int
    cost: int


def meters_of(run: str) -> tuple[Meter, ...]:
    account = Account(budget_id=UUID(run), starts_at=datetime(2026, 11, 1, tzinfo=UTC), ends_at=None)
    return (
        _meter(run, Dimension.CONCURRENT, PLACES),
        _meter(run, Dimension.REQUESTS, REQUESTS, WINDOW_MS),
        _meter(run, Dimension.TOKENS, PLENTY, 3_600_000),
        Meter(key=f"{run}:money", dimension=Dimension.MONEY, limit=PLENTY, scope="all", label="All", account=account),
    )


def _meter(run: str, dimension: Dimension, limit: int, window_ms: int = 0) -> Meter:
    return Meter(
        key=f"{run}:{dimension}", dimension=dimension, limit=limit, window_ms=window_ms, scope="all", label="everything"
    )


async def press(store: SharedStore, meters: tuple[Meter, ...], until: float) -> list[Grant]:
    grants = []
    while time.monotonic() < until:
        want = Want(new_id(), meters, (1, 1, 100, 10**6))
        reply = await store.reserve(want)
        if not isinstance(reply, Granted):
            await asyncio.sleep(random.uniform(0, 0.01))
            continue
        from_ns = time.monotonic_ns()
        await asyncio.sleep(random.uniform(0, 0.02))
        grant = Grant(reply.at_ms, from_ns, time.monotonic_ns(), random.randrange(300), random.randrange(10**6))
        store.settle(Settlement(want, reply.at_ms, (0, 1, grant.tokens, grant.cost)))
        grants.append(grant)
    return grants


async def main(url: str, run: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    async with running(SharedStore(url)) as store:
        found = await asyncio.gather(*(press(store, meters_of(run), until) for _ in range(TASKS)))
    grants = [grant for each in found for grant in each]
    sys.stdout.write(json.dumps(msgspec.to_builtins(grants)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
