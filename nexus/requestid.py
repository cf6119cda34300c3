"""Gives each request of the console an id, as the relay gives each exchange one, and says in one line how it ended."""

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

from accounts.ids import new_id
from nexus.peers import Peers
from telemetry import requestid

logger = logging.getLogger("nexus.console")
PROBES = frozenset({"/", "/api/hello", "/health", "/health/live", "/livez", "/health/ready", "/readyz", "/metrics"})
"""Asked every few seconds by machines."""
STATIC = f"/{settings.STATIC_URL.lstrip('/')}"
"""Asked by the dozen, with each page."""
_peers = Peers(settings.TRUSTED_PEERS)


@sync_and_async_middleware
def middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    if not iscoroutinefunction(get_response):

        def of_one_thread(request: HttpRequest) -> HttpResponse:
            with _bound(request):
                started = time.perf_counter()
                return _ended(request, get_response(request), started)

        return of_one_thread

    async def of_the_loop(request: HttpRequest) -> HttpResponse:
        with _bound(request):
            started = time.perf_counter()
            answer: Awaitable[HttpResponse] = get_response(request)
            return _ended(request, await answer, started)

    return of_the_loop


@contextlib.contextmanager
def _bound(request: HttpRequest) -> Iterator[None]:
    said = [(requestid.HEADER.encode(), request.headers.get(requestid.HEADER, "").encode("latin-1", "replace"))]
    theirs = requestid.correlation_id.set(_peers.correlation_id(request.META.get("REMOTE_ADDR", ""), said))
    ours = requestid.request_id.set(str(new_id()))
    try:
        yield
    finally:
        requestid.request_id.reset(ours)
        requestid.correlation_id.reset(theirs)


def _ended(request: HttpRequest, response: HttpResponse, started: float) -> HttpResponse:
    response.headers.setdefault(requestid.HEADER, requestid.request_id.get())
    user = getattr(request, "_cached_user", None)  # not asked for: that would be a query
    is_dull = (request.path in PROBES or request.path.startswith(STATIC)) and response.status_code < 400
    logger.log(
        logging.DEBUG if is_dull else logging.INFO,
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
