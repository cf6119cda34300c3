"""Whether the background work is done, as its pulse tells: a task that beat sends every ten seconds."""

import time
from typing import Any

from django.conf import settings

from dashboard.apps import uptime_seconds
from telemetry.taskruns import PULSE, TaskRun, last_runs

WAIT_MAX_SECONDS = 5.0
"""A pulse that waited for longer found its worker busy with something else."""


def scheduled_tasks() -> list[str]:
    return sorted({str(entry["task"]) for entry in settings.CELERY_BEAT_SCHEDULE.values()})


def pulse() -> dict[str, Any]:
    """Raises what the cache raises."""
    run = last_runs([PULSE]).get(PULSE)
    if run is None:
        is_late = uptime_seconds() > settings.WORKER_LATE_SECONDS  # a new installation has no pulse yet
        return {
            "status": "degraded" if is_late else "healthy",
            "last_run_seconds_ago": None,
            "queue_wait_seconds": None,
        }
    age = max(0.0, time.time() - run.started_at)
    return {
        "status": "degraded" if _is_late(run, age) else "healthy",
        "last_run_seconds_ago": round(age, 1),
        "queue_wait_seconds": None if run.waited_seconds is None else round(run.waited_seconds, 3),
    }


def _is_late(run: TaskRun, age: float) -> bool:
    return age > settings.WORKER_LATE_SECONDS or (run.waited_seconds or 0) > WAIT_MAX_SECONDS
