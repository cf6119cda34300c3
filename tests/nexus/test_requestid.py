"""Each request of the console has an id and a line, and no thread of its own for that."""

import asyncio
import json
import threading
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from nexus import requestid as middleware_module
from nexus.peers import Peers
from nexus.requestid import middleware
from telemetry import requestid


def ask(path: str = "/page/", **headers: str) -> HttpRequest:
    return RequestFactory().get(path, headers=headers)


async def answer_of(request: HttpRequest, status: int = 200) -> tuple[HttpResponse, dict[str, Any]]:
    seen: dict[str, Any] = {}

    async def page(request: HttpRequest) -> HttpResponse:
        seen["thread"] = threading.get_ident()
        seen["ids"] = (requestid.request_id.get(), requestid.correlation_id.get())
        return HttpResponse(status=status)

    handler = middleware(page)
    assert iscoroutinefunction(handler)
    return await handler(request), seen


@pytest.mark.anyio
async def test_the_answer_and_whatever_runs_for_it_have_the_id() -> None:
    first, seen = await answer_of(ask())
    assert seen == {"thread": threading.get_ident(), "ids": (first["x-nexus-request-id"], "")}
    second, _ = await answer_of(ask())
    assert second["x-nexus-request-id"] != first["x-nexus-request-id"]


@pytest.mark.anyio
async def test_requests_that_run_together_keep_theirs() -> None:
    async def one() -> bool:
        answer, seen = await answer_of(ask())
        await asyncio.sleep(0)
        return bool(seen["ids"][0] == answer["x-nexus-request-id"])

    assert all(await asyncio.gather(*(asyncio.create_task(one()) for _ in range(50))))


@pytest.mark.anyio
async def test_only_a_trusted_peer_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    _, seen = await answer_of(ask(**{"x-nexus-request-id": "lb-1"}))
    assert seen["ids"][1] == ""
    from ipaddress import ip_network

    monkeypatch.setattr(middleware_module, "_peers", Peers([ip_network("127.0.0.0/8")]))
    _, seen = await answer_of(ask(**{"x-nexus-request-id": "lb-1"}))
    assert seen["ids"][1] == "lb-1"


def test_a_thread_of_a_sync_chain_forgets_whom_it_served() -> None:
    seen: list[str] = []

    def page(request: HttpRequest) -> HttpResponse:
        seen.append(requestid.request_id.get())
        return HttpResponse()

    answer = middleware(page)(ask())
    assert seen == [answer["x-nexus-request-id"]]
    assert requestid.request_id.get() == ""


@pytest.mark.anyio
async def test_its_line_says_how_it_ended(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="nexus.console")
    await answer_of(ask("/page/?said=aside"), status=404)
    await answer_of(ask("/health/live"))
    await answer_of(ask("/static/admin/css/base.css"))
    await answer_of(ask("/health/ready"), status=503)
    lines = [vars(record) for record in caplog.records]
    assert [(line["levelname"], line["path"], line["status"]) for line in lines] == [
        ("INFO", "/page/", 404),
        ("DEBUG", "/health/live", 200),
        ("DEBUG", "/static/admin/css/base.css", 200),
        ("INFO", "/health/ready", 503),
    ]
    assert "aside" not in json.dumps(lines, default=str).replace(repr(caplog), "")
