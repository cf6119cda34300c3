"""Celery's tasks in the log: each run binds the id of the request or exchange that it was started for, and says how it
ended."""

import logging
import time
from typing import Any

from celery import signals

from telemetry import requestid

logger = logging.getLogger("nexus.tasks")
_HEADERS = {"nexus_request_id": requestid.request_id, "nexus_correlation_id": requestid.correlation_id}


def connect() -> None:
    signals.before_task_publish.connect(_name_request, weak=False)
    signals.task_prerun.connect(_bind, weak=False)
    signals.task_postrun.connect(_say, weak=False)


def _name_request(headers: dict[str, Any] | None = None, **_: Any) -> None:
    for name, variable in _HEADERS.items():
        if headers is not None and (value := variable.get()):
            headers[name] = value


def _bind(task: Any, **_: Any) -> None:
    task.request.nexus_started = time.perf_counter()
    for name, variable in _HEADERS.items():
        variable.set(getattr(task.request, name, None) or "")


def _say(task_id: str, task: Any, state: str | None = None, **_: Any) -> None:
    started = getattr(task.request, "nexus_started", None) or time.perf_counter()
    facts = {"task": task.name, "task_id": task_id, "duration_ms": round((time.perf_counter() - started) * 1000)}
    logger.debug("task", extra={**facts, "outcome": (state or "unknown").lower()})
    for variable in _HEADERS.values():
        variable.set("")
