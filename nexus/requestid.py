"""Gives each request of the console an id, as the relay gives each exchange one, and says in one line how it ended."""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

from accounts.ids import new_id
from nexus.peers import Peers
from telemetry import requestid

logger = logging.getLogger("nexus.console")
PROBES = frozenset({"/", "/api/hello", "/health", "/health/live", "/health/ready", "/metrics"})
"""Asked every few seconds by machines."""
_peers = Peers(settings.TRUSTED_PEERS)


@sync_and_async_middleware
def middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    if not iscoroutinefunction(get_response):

        def of_one_thread(request: HttpRequest) -> HttpResponse:
            started = _begin(request)
            try:
                return _ended(request, get_response(request), started)
            finally:
                _forget()

        return of_one_thread

    async def of_the_loop(request: HttpRequest) -> HttpResponse:
        started = _begin(request)
        answer: Awaitable[HttpResponse] = get_response(request)
        return _ended(request, await answer, started)

    return of_the_loop


def _begin(request: HttpRequest) -> float:
    said = [(requestid.HEADER.encode(), request.headers.get(requestid.HEADER, "").encode("latin-1", "replace"))]
    requestid.correlation_id.set(_peers.correlation_id(request.META.get("REMOTE_ADDR", ""), said))
    requestid.request_id.set(str(new_id()))
    return time.perf_counter()


def _forget() -> None:
    """A thread serves others afterwards; a task of the event loop ends with its request."""
    requestid.request_id.set("")
    requestid.correlation_id.set("")


def _ended(request: HttpRequest, response: HttpResponse, started: float) -> HttpResponse:
    response.headers.setdefault(requestid.HEADER, requestid.request_id.get())
    user = getattr(request, "_cached_user", None)  # not asked for: that would be a query
    is_probe = request.path in PROBES and response.status_code < 400
    logger.log(
        logging.DEBUG if is_probe else logging.INFO,
        "request",
        extra={
            "method": request.method,
            "path": request.path[:500],
            "status": response.status_code,
            "duration_ms": round((time.perf_counter() - started) * 1000),
            "user_id": getattr(user, "pk", None),
        },
    )
    return response
