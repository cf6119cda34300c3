"""A budget under a rush of requests that would spend four times as much, in one process and in four."""

import asyncio
import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.served import Served, eventually, serve

pytestmark = pytest.mark.e2e

ADMITTED, RUSH, TRIES_MAX = 50, 200, 60
BODY = {"model": "claude-haiku-4-5", "max_tokens": 300, "messages": [{"role": "user", "content": "Hello"}]}
LARGEST = Decimal("0.002")
"""In USD: a little more than one of these may cost, and so by how much the budget can be overspent."""
CLOCK = timedelta(milliseconds=50)
"""Between what the row says of an end and when its cost was known."""


@pytest.fixture
def nexus(standin: Standin, tmp_path: Path) -> Iterator[Served]:
    workers = 4 if os.environ.get("DATABASE_URL") else 1
    with serve(tmp_path, standin.url, workers=workers) as served:
        yield served


def headers(nexus: Served) -> dict[str, str]:
    return {"x-api-key": nexus.key, "anthropic-version": "2023-06-01"}


def with_budget(nexus: Served, amount: Decimal) -> Decimal:
    """Makes it, waits until it counts, and returns what it is said to be overspent by at most."""
    nexus.run(
        f"Budget.objects.create(name='Rush', domain=Domain.objects.get(), period='day', amount_usd='{amount}', "
        f"max_request_usd='{LARGEST}')"
    )
    stated = nexus.run("from telemetry.limits.overshoot import overshoot; print(overshoot(Budget.objects.get())[0])")

    def counts() -> bool:
        answers = [_count_tokens(nexus) for _ in range(20)]  # whichever process takes it
        return all(answer.header("x-nexus-ratelimit-money-limit") for answer in answers)

    eventually(counts)
    return Decimal(stated)


def _count_tokens(nexus: Served) -> rawhttp.Answer:
    asked = json.dumps({"model": BODY["model"], "messages": BODY["messages"]}).encode()
    return rawhttp.request(nexus.port, "POST", "/v1/messages/count_tokens", list(headers(nexus).items()), asked)


async def rush(nexus: Served) -> list[str]:
    """How each of them ended, all begun at once; those that are told to come again do."""
    limits = httpx.Limits(max_connections=RUSH)
    async with httpx.AsyncClient(base_url=nexus.url, headers=headers(nexus), limits=limits, timeout=60) as client:
        return await asyncio.gather(*(_ask(client) for _ in range(RUSH)))


async def _ask(client: httpx.AsyncClient) -> str:
    for _ in range(TRIES_MAX):
        answer = await client.post("/v1/messages", json=BODY)
        if answer.status_code == 200:
            return "completed"
        error: dict[str, str] = answer.json()["error"]
        if error["type"] != "rate_limit_error":
            return error["type"]
        assert answer.headers["x-should-retry"] == "true"
        await asyncio.sleep(float(answer.headers["retry-after"]))
    return "gave up"


def end_of(row: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(str(row["started_at"])) + timedelta(milliseconds=row["duration_ms"])


def test_it_is_never_overspent_by_more_than_is_stated_and_nobody_is_refused_too_early(nexus: Served) -> None:
    first = httpx.post(f"{nexus.url}/v1/messages", json=BODY, headers=headers(nexus))
    cost = Decimal(str(nexus.exchange(first.headers["x-nexus-request-id"])["cost"]))
    amount = ADMITTED * cost
    stated = with_budget(nexus, amount)
    assert stated == LARGEST
    ends = asyncio.run(rush(nexus))
    assert set(ends) <= {"completed", "billing_error"}

    def stored() -> list[dict[str, Any]] | None:
        rows = nexus.rows("telemetry_exchange")
        return (
            rows if sum(row["error_type"] == "billing_error" for row in rows) >= ends.count("billing_error") else None
        )

    rows = eventually(stored) or []
    paid = [row for row in rows if row["cost"]]
    spent = sum((Decimal(str(row["cost"])) for row in paid), Decimal(0))
    assert ends.count("completed") + 1 >= ADMITTED
    assert amount <= spent <= amount + stated, f"{spent - amount} USD over"
    for refused in (row for row in rows if row["error_type"] == "billing_error"):
        until = end_of(refused) + CLOCK
        assert sum(Decimal(str(row["cost"])) for row in paid if end_of(row) <= until) >= amount
