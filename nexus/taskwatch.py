"""Tells of each run of a task how it went (`telemetry.taskruns`), and puts on each message when it was sent."""

import logging
import time
from collections.abc import Callable
from typing import Any

from celery import signals

from telemetry import taskruns
from telemetry.queue import SENT_AT

logger = logging.getLogger(__name__)


def connect() -> None:
    signals.before_task_publish.connect(_stamp, weak=False)
    signals.task_prerun.connect(_began, weak=False)
    signals.task_postrun.connect(_ended, weak=False)
    signals.task_failure.connect(_failed, weak=False)


def _stamp(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None:
        headers[SENT_AT] = time.time()


def _began(task: Any, **_: Any) -> None:
    sent_at = getattr(task.request, SENT_AT, None)
    _tell(lambda: taskruns.began(task.name, str(task.request.hostname), sent_at))


def _ended(task: Any, state: str | None = None, **_: Any) -> None:
    if state == "SUCCESS":
        _tell(lambda: taskruns.ended(task.name))


def _failed(sender: Any, exception: BaseException, **_: Any) -> None:
    """Also told by the parent of a process that was killed over its time limit, or that died."""
    _tell(lambda: taskruns.ended(sender.name, type(exception).__name__))


def _tell(say: Callable[[], None]) -> None:
    """That nobody hears of it must not fail the task."""
    try:
        say()
    except Exception as error:
        logger.warning("how a task ran cannot be told: %s", type(error).__name__)
