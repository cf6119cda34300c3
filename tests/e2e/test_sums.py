"""Sums by the hour, costs and the record say the same after all that may come between them."""

import contextlib
import json
import signal
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.served import Served, eventually, serve

pytestmark = [pytest.mark.e2e, pytest.mark.once_in_cluster]
FAKE_KEY = "fake-dashboard-key-0002"
MODELS = ("claude-haiku-4-5", "claude-opus-4-5")
PRICE = """
from datetime import UTC, datetime
from decimal import Decimal
from telemetry.models import PriceRow
old = PriceRow.objects.get(pattern='claude-haiku-4-5-20251001')
old.pk, old.valid_from, old.input = None, datetime(2026, 1, 1, tzinfo=UTC), Decimal(7)
old._state.adding = True
old.save()
"""


def post(served: Served, path: str, body: Any) -> bytes:
    headers = [("x-api-key", served.key), ("anthropic-version", "2023-06-01"), ("content-type", "application/json")]
    return rawhttp.request(served.port, "POST", path, headers, json.dumps(body).encode()).body


def ask(served: Served, number: int) -> None:
    body = {"model": MODELS[number % 2], "max_tokens": 64, "stream": number % 3 == 0}
    with contextlib.suppress(OSError):  # it may be killed amid it
        post(served, "/v1/messages", body | {"messages": [{"role": "user", "content": f"number {number}"}]})


def batch(served: Served) -> str:
    """Its id, once its results were asked for."""
    params = {"model": MODELS[0], "max_tokens": 64, "messages": [{"role": "user", "content": "in a batch"}]}
    made = json.loads(post(served, "/v1/messages/batches", {"requests": [{"custom_id": "one", "params": params}]}))
    headers = [("x-api-key", served.key), ("anthropic-version", "2023-06-01")]
    path = f"/v1/messages/batches/{made['id']}"
    for each in (path, f"{path}/results"):
        assert rawhttp.request(served.port, "GET", each, headers).status == 200
    return str(made["id"])


def booked(served: Served) -> Decimal:
    """All costs of the record, as its rows have them."""
    tables = ("telemetry_exchange", "telemetry_batch_usage")
    costs = [row["cost"] for table in tables for row in served.rows(table) if row["cost"] is not None]
    return sum((round(Decimal(str(cost)), 10) for cost in costs), Decimal(0))


def shown(served: Served) -> tuple[Decimal, Decimal]:
    """The costs of `/token-stats` and of `/api/stats`."""

    def get(path: str) -> Any:
        return httpx.get(served.url + path, headers={"X-Dashboard-Key": FAKE_KEY}, trust_env=False).json()

    since = "?since=2026-01-01T00:00:00Z"
    by_domain = sum((Decimal(each["cost"]) for each in get(f"/token-stats{since}").values()), Decimal(0))
    return by_domain, Decimal(get(f"/api/stats{since}")["totals"]["cost"])


def agree(served: Served) -> Decimal:
    """What all of them say, once the hours are summed: also by a second one beside the worker, where there is one."""
    served.run("from telemetry.money.rollups import roll_up; roll_up(at_once=True)")
    eventually(lambda: not served.rows("telemetry_hour_mark"), seconds=60)
    found = booked(served)
    assert shown(served) == (found, found)
    assert " 0 differ" in served.nexus("verify-rollups")
    return found


def test_a_killed_process_a_batch_and_repricing_leave_nothing_that_differs(standin: Standin, tmp_path: Path) -> None:
    with serve(tmp_path, standin.url, DASHBOARD_API_KEY=FAKE_KEY) as first, ThreadPoolExecutor(8) as threads:
        early = batch(first)
        asked = [threads.submit(ask, first, number) for number in range(400)]
        eventually(lambda: len(first.rows("telemetry_exchange")) > 20)
        first.stop(signal.SIGKILL)
        for each in asked:
            each.cancel()
    with serve(tmp_path, standin.url, database_url=first.database_url, DASHBOARD_API_KEY=FAKE_KEY) as second:
        second.key = first.key
        late = batch(second)
        for number in range(10):
            ask(second, number)
        eventually(lambda: len([row for row in second.rows("telemetry_batch") if row["booked_id"]]) == 2, seconds=20)
        assert {row["id"] for row in second.rows("telemetry_batch")} == {early, late}
        eventually(lambda: not any(row["spooled"] or row["in_flight"] for row in second.rows("telemetry_ledger")), 20)
        before = agree(second)

        second.run(PRICE)
        second.nexus("reprice", "--yes")
        after = agree(second)
        changes = [
            Decimal(str(row["cost_after"])) - Decimal(str(row["cost_before"]))
            for row in second.rows("telemetry_adjustment")
        ]
        assert after - before == sum(round(change, 10) for change in changes) > 0
        assert {row["batch_id"] for row in second.rows("telemetry_adjustment")} == {"", early, late}
