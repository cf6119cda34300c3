"""GET /health: for probes and for people, open to all, and so without a name, an address or an error's words.

Without database, Redis or Celery requests go on and the record waits in the spool: that is degraded, as a probe must
not take every node out of service for it. Unhealthy is a process that loses exchanges, while others may be well.
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
from django.db import connection
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from dashboard import background
from dashboard.apps import uptime_seconds
from telemetry.limits import standing
from telemetry.metrics import vitals

logger = logging.getLogger(__name__)
PATIENCE_SECONDS = 1.0
"""For each look: probes give up after a few seconds, and a database that is away answers nobody for longer."""
KEPT_SECONDS = 1.0
FILLING = 0.8
"""So much of its bound the spool takes: time to look why."""
Check = dict[str, Any]


class Look:
    """Asks in a thread of its own, one question at a time, and never makes anybody wait for long."""

    def __init__(self, name: str, ask: Callable[[], Check]) -> None:
        self._ask = ask
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"health-{name}")
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._answer: Future[Check] | None = None

    def __call__(self) -> Check:
        with self._lock:
            is_old = time.monotonic() - self._asked_at > KEPT_SECONDS
            if self._answer is None or (self._answer.done() and is_old):
                self._asked_at = time.monotonic()
                self._answer = self._thread.submit(self._ask)
            answer = self._answer
        try:
            return answer.result(PATIENCE_SECONDS)
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
    return {"status": "healthy", "response_ms": round((time.perf_counter() - started) * 1000, 1)}


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


@require_safe
def health(request: HttpRequest) -> JsonResponse:
    if not settings.ENABLE_HEALTH_CHECKS:
        raise Http404
    checks = {name: look() for name, look in LOOKS.items()}
    status = worst([check["status"] for check in checks.values()])
    response = JsonResponse(
        {
            "status": status,
            "timestamp": datetime.now(UTC),
            "uptime": round(uptime_seconds()),
            "version": version("nexus-gateway"),
            "checks": checks,
        },
        status=503 if status == "unhealthy" else 200,
    )
    response["Cache-Control"] = "no-store"
    return response


def worst(found: list[str]) -> str:
    return next((status for status in ("unhealthy", "degraded") if status in found), "healthy")
