"""How the tasks of Celery last ran: whoever runs one writes it into the cache that all processes share. It may be lost;
then it is known again with the next run."""

import time
from collections.abc import Iterable

import msgspec
from django.core.cache import cache

KEPT_SECONDS = 8 * 24 * 3600
"""Longer than any task rests."""
PULSE = "telemetry.tasks.pulse"
RUNNING, SUCCEEDED, FAILED = "running", "succeeded", "failed"


class TaskRun(msgspec.Struct, frozen=True, kw_only=True):
    """Moments are seconds since 1970. Nothing here says what a task was about: an error is its type alone."""

    task: str
    worker: str
    started_at: float
    waited_seconds: float | None = None
    """In the queue, by the clocks of both ends."""
    state: str = RUNNING
    duration_seconds: float | None = None
    error_type: str = ""
    succeeded_at: float | None = None
    """When it last ended well."""
    failures: int = 0
    """In a row, since then."""


def began(task: str, worker: str, sent_at: float | None) -> None:
    """Raises what the cache raises, as all here."""
    now = time.time()
    before = last_runs([task]).get(task)
    run = TaskRun(
        task=task,
        worker=worker,
        started_at=now,
        waited_seconds=None if sent_at is None else max(0.0, now - sent_at),
        succeeded_at=before.succeeded_at if before else None,
        failures=before.failures if before else 0,
    )
    _write(run)


def ended(task: str, error_type: str = "") -> None:
    """Without the type of an error it ended well."""
    now = time.time()
    run = last_runs([task]).get(task)
    if run is None:
        return
    _write(
        msgspec.structs.replace(
            run,
            state=FAILED if error_type else SUCCEEDED,
            duration_seconds=max(0.0, now - run.started_at),
            error_type=error_type,
            succeeded_at=run.succeeded_at if error_type else now,
            failures=run.failures + 1 if error_type else 0,
        )
    )


def last_runs(tasks: Iterable[str]) -> dict[str, TaskRun]:
    found = cache.get_many([_key(task) for task in tasks])
    runs = (msgspec.json.decode(each, type=TaskRun) for each in found.values())
    return {run.task: run for run in runs}


def _write(run: TaskRun) -> None:
    cache.set(_key(run.task), msgspec.json.encode(run), KEPT_SECONDS)


def _key(task: str) -> str:
    return f"nexus-task-{task}"
