"""GET /health for people, GET /readyz for load balancers: open to all, and so without a name, an address or an error's
words.

Without database, Redis or Celery requests go on and the record waits in the spool: that is degraded, as a probe must
not take every node out of service for it. Unhealthy is a process that loses exchanges, while others may be well. Not
ready is one of these, one that stops, and one whose database is not migrated.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from accounts.schema import missing_migrations
from dashboard import background
from dashboard.apps import uptime_seconds
from telemetry import draining
from telemetry.limits import standing
from telemetry.metrics import vitals

logger = logging.getLogger(__name__)
PATIENCE_SECONDS = 0.8
"""For all looks together: many probes give up after one second, a database that is away answers later or never."""
KEPT_SECONDS = 1.0
FILLING = 0.8
"""So much of its bound the spool takes: time to look why."""
Check = dict[str, Any]
_is_migrated = False


class Look:
    """Asks in a thread of its own, one question at a time, and never makes anybody wait for long."""

    def __init__(self, name: str, ask: Callable[[], Check]) -> None:
        self._ask = ask
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"health-{name}")
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._answer: Future[Check] | None = None

    def begin(self) -> "Future[Check]":
        with self._lock:
            is_old = time.monotonic() - self._asked_at > KEPT_SECONDS
            if self._answer is None or (self._answer.done() and is_old):
                self._asked_at = time.monotonic()
                self._answer = self._thread.submit(self._ask)
            return self._answer

    def __call__(self, seconds: float = PATIENCE_SECONDS) -> Check:
        try:
            return self.begin().result(seconds)
        except TookTooLong:
            return {"status": "degraded", "error": "no answer in time"}
        except Exception as error:
            logger.debug("health", exc_info=error)
            return {"status": "degraded", "error": "not reachable"}


def database() -> Check:
    started = time.perf_counter()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()
    return {"status": "healthy", "response_ms": _ms_since(started)}


def redis() -> Check:
    if not settings.REDIS_URL:
        return {"status": "healthy", "reason": "not used: this one process shares with nobody"}
    started = time.perf_counter()
    cache.get("readiness")
    return {"status": "healthy", "response_ms": _ms_since(started)}


def migrations() -> Check:
    """Of the code against the database. Once all are applied they stay so, and are not looked at again."""
    global _is_migrated
    started = time.perf_counter()
    if not _is_migrated:
        try:
            missing = missing_migrations()
        finally:
            connection.close()
        if missing:
            return {
                "status": "unhealthy",
                "response_ms": _ms_since(started),
                "reason": f"{len(missing)} missing: run `nexus migrate`",
            }
        _is_migrated = True
    return {"status": "healthy", "response_ms": _ms_since(started)}


def stopping() -> Check:
    if draining.is_on():
        return {"status": "unhealthy", "reason": "this process was told to stop"}
    return {"status": "healthy"}


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)


def record() -> Check:
    """Of this process: how full its spool is, and whether that is where exchanges still get to."""
    own = vitals.own()
    if own is None:  # it carries no requests yet
        return {"status": "healthy", "spool_used": 0.0}
    used = own.spooled_bytes / own.spool_limit_bytes if own.spool_limit_bytes else 0.0
    status = "unhealthy" if own.lost_lately else "degraded" if used >= FILLING else "healthy"
    return {"status": status, "spool_used": round(used, 3)}


def limits() -> Check:
    """Of this process: whether it counts limits with the others."""
    found = standing.now()
    status = "healthy" if found is None or found.alone_since is None else "degraded"
    return {"status": status, "limits": found.words if found else "one process"}


LOOKS: dict[str, Callable[[], Check]] = {
    "database": Look("database", database),
    "celery": Look("celery", background.pulse),
    "record": record,
    "limits": limits,
}


READINESS: dict[str, Callable[[], Check]] = {
    "draining": stopping,
    "migrations": Look("migrations", migrations),
    "database": LOOKS["database"],
    "redis": Look("redis", redis),
    "record": record,
}


@require_safe
def health(request: HttpRequest) -> JsonResponse:
    checks = _asked(LOOKS)
    status = worst([check["status"] for check in checks.values()])
    about = {
        "timestamp": datetime.now(UTC),
        "uptime": round(uptime_seconds()),
        "version": version("nexus-gateway"),
    }
    return _answer({"status": status, **about, "checks": checks}, is_well=status != "unhealthy")


@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    checks = _asked(READINESS)
    is_ready = worst([check["status"] for check in checks.values()]) != "unhealthy"
    return _answer({"status": "ready" if is_ready else "not ready", "checks": checks}, is_well=is_ready)


@require_safe
def live(request: HttpRequest) -> JsonResponse:
    """Where the server does not answer itself, before all this (`nexus.asgi`)."""
    _asked({})
    return _answer({"status": "alive"}, is_well=True)


def _asked(looks: dict[str, Callable[[], Check]]) -> dict[str, Check]:
    if not settings.ENABLE_HEALTH_CHECKS:
        raise Http404
    deadline = time.monotonic() + PATIENCE_SECONDS
    slow = {name: look for name, look in looks.items() if isinstance(look, Look)}
    for look in slow.values():
        look.begin()
    left = {name: look() for name, look in looks.items() if name not in slow}
    return left | {name: look(max(0, deadline - time.monotonic())) for name, look in slow.items()}


def _answer(said: dict[str, Any], *, is_well: bool) -> JsonResponse:
    response = JsonResponse(said, status=200 if is_well else 503)
    response["Cache-Control"] = "no-store"
    return response


def worst(found: list[str]) -> str:
    return next((status for status in ("unhealthy", "degraded") if status in found), "healthy")
