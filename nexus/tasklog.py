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
    signals.task_failure.connect(_note_failure, weak=False)
    signals.task_postrun.connect(_say, weak=False)
    signals.setup_logging.connect(_keep_ours, weak=False)


def take_announcements() -> None:
    """What Celery would print past all logging, such as that a worker stops, becomes a log line."""
    from celery.apps import worker

    worker.safe_say = lambda message, file=None: logger.warning(message)


def _keep_ours(**_: Any) -> None:
    """With a receiver Celery sets up no logging of its own."""


def _name_request(headers: dict[str, Any] | None = None, **_: Any) -> None:
    for name, variable in _HEADERS.items():
        if headers is not None and (value := variable.get()):
            headers[name] = value


def _bind(task: Any, **_: Any) -> None:
    task.request.nexus_started = time.perf_counter()
    for name, variable in _HEADERS.items():
        variable.set(getattr(task.request, name, None) or "")


def _note_failure(sender: Any, exception: BaseException, **_: Any) -> None:
    sender.request.nexus_error_type = type(exception).__name__


def _say(task_id: str, task: Any, state: str | None = None, **_: Any) -> None:
    """Celery itself tells a failure with its traceback; this is the line to count."""
    started = getattr(task.request, "nexus_started", None) or time.perf_counter()
    facts = {"task": task.name, "task_id": task_id, "duration_ms": round((time.perf_counter() - started) * 1000)}
    error_type = getattr(task.request, "nexus_error_type", None) or ""
    facts |= {"outcome": (state or "unknown").lower(), "error_type": error_type}
    logger.log(logging.ERROR if error_type else logging.DEBUG, "task", extra=facts)
    for variable in _HEADERS.values():
        variable.set("")
