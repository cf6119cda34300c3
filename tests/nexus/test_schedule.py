"""Every task of beat's schedule: that none piles up, runs for ever, or is lost with its worker."""

from typing import Any

import pytest
from celery.schedules import crontab
from django.conf import settings

from nexus import schedule
from nexus.celery import app

SCHEDULE: dict[str, dict[str, Any]] = settings.CELERY_BEAT_SCHEDULE
MESSAGE_MAX_BYTES = 2000


@pytest.fixture(autouse=True, scope="module")
def tasks() -> None:
    app.loader.import_default_modules()


def test_no_task_is_scheduled_twice() -> None:
    names = [entry["task"] for entry in SCHEDULE.values()]
    assert sorted(names) == sorted(set(names)), "how a task last ran is known by its name"


@pytest.mark.parametrize("name", SCHEDULE)
def test_a_run_that_waits_too_long_is_left_out(name: str) -> None:
    entry = SCHEDULE[name]
    period = schedule.period_seconds(entry["schedule"])
    assert 0 < entry["options"]["expires"] <= 2 * period


@pytest.mark.parametrize("name", SCHEDULE)
def test_a_run_that_takes_too_long_is_stopped(name: str) -> None:
    options = SCHEDULE[name]["options"]
    assert 0 < options["soft_time_limit"] < options["time_limit"] < schedule.VISIBILITY_SECONDS


@pytest.mark.parametrize("name", SCHEDULE)
def test_a_run_outlives_its_worker(name: str) -> None:
    task = app.tasks[SCHEDULE[name]["task"]]
    assert task.acks_late
    assert task.reject_on_worker_lost
    assert task.ignore_result


@pytest.mark.parametrize("name", SCHEDULE)
def test_its_message_is_small(name: str) -> None:
    """What there is to do is read from the database."""
    entry = SCHEDULE[name]
    assert not entry.get("args")
    assert not entry.get("kwargs")
    assert len(str(app.amqp.create_task_message("1", entry["task"], **entry["options"]))) < MESSAGE_MAX_BYTES


def test_tasks_that_beat_does_not_start_have_limits_too() -> None:
    assert 0 < app.conf.task_soft_time_limit < app.conf.task_time_limit < schedule.VISIBILITY_SECONDS
    assert app.conf.worker_prefetch_multiplier == 1
    if settings.REDIS_URL:
        assert app.conf.broker_transport_options["visibility_timeout"] == schedule.VISIBILITY_SECONDS


def test_limits_follow_the_period() -> None:
    def options(period: object, **own: object) -> dict[str, Any]:
        entry = {"task": "one", "schedule": period, "options": own}
        found: dict[str, Any] = schedule.complete({"one": entry})["one"]["options"]
        return found

    assert options(2) == {"expires": 2.0, "soft_time_limit": 30, "time_limit": 45}
    assert options(60) == {"expires": 60.0, "soft_time_limit": 60, "time_limit": 75}
    assert options(crontab(hour=3)) == {"expires": 86_400, "soft_time_limit": 1800, "time_limit": 1815}
    assert options(2, expires=4)["expires"] == 4, "what an entry says stays"
