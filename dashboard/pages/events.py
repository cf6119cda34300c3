"""GET /dashboard/sse?domain=: what happens, for scripts, as the original's `conversation` and `metrics` events."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from accounts import hosts
from accounts.access import AccessRefused, viewer_of
from dashboard.live import Scope, TooMany, hub, scope_of
from dashboard.scope import domain_ids_of

HEARTBEAT_SECONDS = 30.0
QUEUE_MAX = 100
"""Ticks that wait for a slow reader; when there are more, it is let go."""


async def view(request: HttpRequest) -> HttpResponseBase:
    if request.method != "GET":
        return HttpResponse(status=405, headers={"Allow": "GET"})
    try:
        scope = await sync_to_async(_scope)(request)
    except AccessRefused as refused:
        return JsonResponse({"error": str(refused)}, status=refused.status)
    headers = {"Cache-Control": "no-cache, no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(_events(request, scope), content_type="text/event-stream", headers=headers)


def _scope(request: HttpRequest) -> Scope:
    host = request.GET.get("domain", "")
    return scope_of(domain_ids_of(viewer_of(request), hosts.normalise(host) if host else None))


async def _events(request: HttpRequest, scope: Scope) -> AsyncIterator[str]:
    waiting: asyncio.Queue[str | None] = asyncio.Queue(QUEUE_MAX)
    host = request.GET.get("domain", "")

    async def tell(text: str) -> None:
        waiting.put_nowait(text)

    try:
        with hub.watching(scope, tell, lambda: _end(waiting)):
            yield _event({"type": "connected", "connectionId": str(uuid4()), "timestamp": _now()}, retry=True)
            while True:
                try:
                    text = await asyncio.wait_for(waiting.get(), HEARTBEAT_SECONDS)
                except TimeoutError:
                    if await _has_changed(request, scope):
                        return
                    yield ": heartbeat\n\n"
                    continue
                if text is None:
                    return
                for event in told(json.loads(text), host):
                    yield _event(event)
    except TooMany:
        yield _event({"type": "error", "error": "Too many watch this process. Try again later."})


def _end(waiting: "asyncio.Queue[str | None]") -> None:
    with contextlib.suppress(asyncio.QueueFull):
        waiting.put_nowait(None)


async def _has_changed(request: HttpRequest, scope: Scope) -> bool:
    """Whoever it was may look at something else now, or at nothing: it has to ask again."""
    try:
        return await sync_to_async(_scope)(request) != scope
    except AccessRefused:
        return True


def told(tick: dict[str, Any], host: str) -> list[dict[str, Any]]:
    """A tick in the original's words."""
    at, sums = _now(), tick["sums"]
    events: list[dict[str, Any]] = [
        {
            "type": "conversation",
            "id": row["id"],
            "domain": row["domain"],
            "model": row["model"],
            "tokens": row["tokens_in"] + row["tokens_out"],
            "timestamp": row["at"],
        }
        for row in tick["rows"]
    ]
    tokens = sums["tokens_in"] + sums["tokens_out"]
    metrics = {"type": "metrics", "domain": host or "global", "requests": sums["requests"], "tokens": tokens}
    return [*events, metrics | {"activeUsers": len({row["key"] for row in tick["rows"]}), "timestamp": at}]


def _event(event: dict[str, Any], *, retry: bool = False) -> str:
    return f"{'retry: 5000' + chr(10) if retry else ''}event: {event['type']}\ndata: {json.dumps(event)}\n\n"


def _now() -> int:
    return int(time.time() * 1000)
