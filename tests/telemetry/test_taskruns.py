"""How tasks ran, as the worker that runs inside a process tells it."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from pytest_django import Settings

from dashboard import background
from nexus.celery import app
from nexus.embedded import celery_threads
from telemetry import queue, taskruns
from telemetry.taskruns import PULSE, TaskRun, last_runs
from telemetry.tasks import pulse
from tests.served import eventually

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(bool(settings.REDIS_URL), reason="one process only; tests/e2e/test_background.py has the other"),
]
GO_ON = threading.Event()
SECONDS = 30
"""The first worker of a process imports much; on a busy machine that takes a while."""


@app.task(name="tests.fail")  # type: ignore[untyped-decorator]
def fail() -> None:
    raise LookupError("a secret that nobody may read")


@app.task(name="tests.hold")  # type: ignore[untyped-decorator]
def hold() -> None:
    GO_ON.wait(30)


@pytest.fixture
def worker() -> Iterator[None]:
    cache.clear()
    GO_ON.clear()
    with celery_threads():
        yield
        GO_ON.set()


def last(task: Any, state: str) -> TaskRun:
    def look() -> TaskRun | None:
        run = last_runs([task.name]).get(task.name)
        return run if run and run.state == state else None

    found = eventually(look, SECONDS)
    assert found
    return found


def test_a_run_that_ended_well(worker: None) -> None:
    pulse.delay()
    run = last(pulse, taskruns.SUCCEEDED)
    assert run.duration_seconds is not None
    assert 0 <= run.duration_seconds < 5
    assert run.waited_seconds is not None
    assert 0 <= run.waited_seconds < 5
    assert run.succeeded_at is not None
    assert run.failures == 0


def test_a_task_that_fails_every_time_is_seen_without_its_words(worker: None) -> None:
    for _ in range(3):
        fail.delay()
    eventually(lambda: last(fail, taskruns.FAILED).failures == 3, SECONDS)
    run = last(fail, taskruns.FAILED)
    assert (run.error_type, run.succeeded_at) == ("LookupError", None)
    assert "secret" not in repr(run)


def test_a_stuck_task_is_seen_while_it_holds_the_worker(worker: None, settings: Settings) -> None:
    settings.WORKER_LATE_SECONDS = 0.3
    pulse.delay()
    last(pulse, taskruns.SUCCEEDED)
    hold.delay()
    assert last(hold, taskruns.RUNNING).worker
    pulse.delay()
    eventually(lambda: background.pulse()["status"] == "degraded", SECONDS)
    waiting = eventually(
        lambda: (found := queue.waiting()).oldest_seconds and found.oldest_seconds > 0.3 and found, SECONDS
    )
    assert isinstance(waiting, queue.Waiting)
    assert waiting.tasks == 1
    GO_ON.set()
    eventually(lambda: last_runs([PULSE])[PULSE].started_at > last(hold, taskruns.SUCCEEDED).started_at, SECONDS)
    assert queue.waiting() == queue.Waiting(0, None)
    waited = last_runs([PULSE])[PULSE].waited_seconds
    assert waited is not None
    assert waited > 0.3


def test_that_the_cache_is_away_fails_no_task(
    worker: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ConnectionError("redis://user:a-fake-password@example.com")

    monkeypatch.setattr(taskruns, "_write", broken)
    pulse.delay()
    eventually(lambda: "how a task ran cannot be told: ConnectionError" in caplog.text, SECONDS)
    monkeypatch.undo()
    pulse.delay()
    last(pulse, taskruns.SUCCEEDED)
    assert "a-fake-password" not in caplog.text
