"""How the installation is, for those who run it: its web processes, the queue, and how each task last ran."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import msgspec
from django.conf import settings

from dashboard import background
from telemetry import queue, taskruns
from telemetry.limits import standing
from telemetry.metrics import vitals
from telemetry.models import LedgerRow
from telemetry.taskruns import TaskRun

logger = logging.getLogger(__name__)
Row = dict[str, Any]


def state() -> Row:
    return {
        "version": version("nexus-gateway"),
        "limits": found.words if (found := standing.now()) else "one process",
        "processes": _processes(),
        "pulse": _or_none(background.pulse),
        "queue": _or_none(lambda: queue.waiting()._asdict()),
        "tasks": _tasks(),
    }


def _processes() -> list[Row]:
    """Those that have not ended, as the ledger knows them. `vitals` are what a process said of itself a moment ago;
    null: it is silent, or the cache is."""
    rows = list(LedgerRow.objects.filter(ended_at=None).order_by("node", "started_at"))
    said = _or_none(lambda: vitals.published([row.id for row in rows])) or {}
    return [
        {
            "process": row.id,
            "node": row.node,
            "started_at": row.started_at,
            "seen_at": row.seen_at,
            "vitals": msgspec.structs.asdict(said[row.id]) if row.id in said else None,
        }
        for row in rows
    ]


def _tasks() -> list[Row]:
    runs = _or_none(lambda: taskruns.last_runs(background.scheduled_tasks())) or {}
    return [
        {"name": name, "task": entry["task"], "schedule": str(entry["schedule"]), **_run(runs.get(entry["task"]))}
        for name, entry in sorted(settings.CELERY_BEAT_SCHEDULE.items())
    ]


def _run(run: TaskRun | None) -> Row:
    if run is None:
        return {"state": None}
    return {
        "state": run.state,
        "started_at": _moment(run.started_at),
        "succeeded_at": _moment(run.succeeded_at),
        "duration_seconds": run.duration_seconds,
        "queue_wait_seconds": run.waited_seconds,
        "error_type": run.error_type,
        "failures": run.failures,
        "worker": run.worker,
    }


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _or_none(ask: Callable[[], Any]) -> Any:
    """What Redis knows is worth showing without the rest of it."""
    try:
        return ask()
    except Exception as error:
        logger.warning("Redis cannot be asked how the system is: %s", type(error).__name__)
        return None
