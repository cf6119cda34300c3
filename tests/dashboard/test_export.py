"""The record as a file."""

import asyncio
import csv
import io
import json
import re
from datetime import datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.test import AsyncClient
from pytest_django import Settings

from accounts.access import EVERYTHING
from accounts.models import ClientKey, Domain
from dashboard import export
from dashboard.filters import ExportFormat
from telemetry.models import ExchangeRow
from tests.dashboard.conftest import FAKE_KEY
from tests.telemetry.facts import stored_exchange

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.anyio]
EXPORT = "/api/requests/export"
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"]


@pytest.fixture(autouse=True)
def key(settings: Settings) -> None:
    settings.DASHBOARD_API_KEY = FAKE_KEY


async def ask(**query: str) -> Any:
    response = await AsyncClient().get(EXPORT, query, headers={"X-Dashboard-Key": FAKE_KEY})
    assert response.status_code == 200
    return response


async def content(response: Any) -> str:
    return b"".join([part async for part in response.streaming_content]).decode()


async def stored(count: int, **facts: Any) -> list[str]:
    """Ids, newest first."""
    make = sync_to_async(stored_exchange)
    return [str((await make(**facts)).id) for _ in range(count)][::-1]


async def test_a_csv_file_has_a_line_for_each_request(issued: tuple[ClientKey, str]) -> None:
    key, _ = issued
    row = await sync_to_async(stored_exchange)(
        client_key_id=key.id, domain_id=key.domain_id, status=None, model='a "b", c'
    )
    response = await ask()
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(r'attachment; filename="nexus-requests-\d{4}-\d\d-\d\d\.csv"', response["Content-Disposition"])
    assert response["Cache-Control"] == "no-store"
    (line,) = csv.DictReader(io.StringIO(await content(response)))
    assert (line["id"], line["domain"], line["client_key"]) == (str(row.id), "claude.example.com", "Ada's laptop")
    assert (line["status"], line["model"], line["input_tokens"]) == ("", 'a "b", c', "10")
    assert line["started_at"].endswith("Z")
    assert datetime.fromisoformat(line["started_at"]) == row.started_at


async def test_a_jsonl_file_has_an_object_for_each_request(db: None) -> None:
    ids = await stored(3)
    response = await ask(format="jsonl")
    assert response["Content-Disposition"].endswith('.jsonl"')
    rows = [json.loads(line) for line in (await content(response)).splitlines()]
    assert [row["id"] for row in rows] == ids
    assert (rows[0]["input_tokens"], rows[0]["domain"], rows[0]["is_stream"]) == (10, None, True)
    assert {"usage", "request_body"}.isdisjoint(rows[0])


async def test_an_empty_record_is_an_empty_file(db: None) -> None:
    assert (await content(await ask(format="jsonl"))) == ""
    assert (await content(await ask())).startswith("id,started_at,duration_ms")


@pytest.mark.parametrize("formula", FORMULAS)
async def test_no_cell_is_a_formula(db: None, formula: str) -> None:
    await stored(1, model=formula, user_agent=formula)
    (line,) = csv.DictReader(io.StringIO(await content(await ask()), newline=""))
    assert line["model"] == line["user_agent"] == f"'{formula}"
    (row,) = [json.loads(line) for line in (await content(await ask(format="jsonl"))).splitlines()]
    assert row["model"] == formula


async def test_filters_hold_for_a_file_too(domain: Domain) -> None:
    await stored(2)
    wanted = await stored(2, domain_id=domain.id, model="wanted")
    for query in ({"domain": "claude.example.com"}, {"model": "wanted"}, {"domain": domain.host, "status": "2xx"}):
        rows = (await content(await ask(format="jsonl", **query))).splitlines()
        assert [json.loads(row)["id"] for row in rows] == wanted


@pytest.mark.parametrize("rows_at_once", [1, 2, 3, 9, 10])
async def test_pages_join_without_gap_or_repetition(
    db: None, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr(export, "ROWS_AT_ONCE", rows_at_once)
    ids = await stored(9)
    rows = (await content(await ask(format="jsonl"))).splitlines()
    assert [json.loads(row)["id"] for row in rows] == ids


async def test_it_reads_no_further_than_the_client(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 2)
    await stored(6)
    rows = ExchangeRow.objects.order_by("-id")
    parts = aiter(export.export(rows, EVERYTHING, ExportFormat.JSONL))
    assert len((await anext(parts)).splitlines()) == 2
    await sync_to_async(ExchangeRow.objects.all().delete)()
    assert [part async for part in parts] == []  # the next page was not read yet


async def test_previews_take_the_permission(member: User, domain: Domain) -> None:
    (row_id,) = await stored(1, domain_id=domain.id)
    await ExchangeRow.objects.filter(id=row_id).aupdate(request_preview="what was said")
    client = AsyncClient()
    await client.aforce_login(member)
    for file_format in ExportFormat:
        answer = await content(await client.get(EXPORT, {"format": file_format}))
        assert "preview" not in answer
        assert "what was said" not in answer
        assert "what was said" in await content(await ask(format=file_format))


@pytest.mark.parametrize(
    "query", [{"format": "xlsx"}, {"limit": "1"}, {"cursor": "x"}, {"since": "now"}, {"key": "\0"}]
)
async def test_what_cannot_be_meant_is_told_before_a_file_begins(db: None, query: dict[str, str]) -> None:
    response = await AsyncClient().get(EXPORT, query, headers={"X-Dashboard-Key": FAKE_KEY})
    assert response.status_code == 422
    assert response.json()["error"].endswith(".")


async def test_a_client_that_leaves_ends_it(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 1)
    await stored(30)
    begun, parts = asyncio.Event(), []
    requests = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        if (request := next(requests, None)) is not None:
            return request
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            parts.append(message["body"])
            begun.set()

    scope = {
        "type": "http",
        "method": "GET",
        "path": EXPORT,
        "query_string": b"format=jsonl",
        "headers": [(b"host", b"localhost"), (b"x-dashboard-key", FAKE_KEY.encode())],
        "client": ("127.0.0.1", 1),
    }
    await asyncio.wait_for(get_asgi_application()(scope, receive, send), 10)
    assert 1 <= len(parts) < 10
