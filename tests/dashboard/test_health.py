"""What a probe is told."""

import threading
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from dashboard import background, health
from telemetry import taskruns
from telemetry.limits import standing
from telemetry.limits.standing import Standing
from telemetry.metrics import vitals
from telemetry.metrics.vitals import Vitals
from telemetry.taskruns import PULSE
from tests.telemetry.metrics.test_process import VITALS

pytestmark = pytest.mark.django_db(transaction=True)
HEALTHY = {"status": "healthy"}


@pytest.fixture(autouse=True)
def no_pulse_yet(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    settings.WORKER_LATE_SECONDS = 3600
    cache.clear()
    monkeypatch.setattr(health, "KEPT_SECONDS", 0.0)


def checks(client: Client, status: int = 200) -> dict[str, Any]:
    response = client.get("/health")
    assert response.status_code == status
    assert response.headers["Cache-Control"] == "no-store"
    answer = response.json()
    assert answer["status"] == health.worst([check["status"] for check in answer["checks"].values()])
    found: dict[str, Any] = answer["checks"]
    return found


def test_all_is_well(client: Client) -> None:
    taskruns.began(PULSE, "celery@a", sent_at=time.time())
    answer = client.get("/health").json()
    assert answer["status"] == "healthy"
    assert answer["version"]
    assert answer["uptime"] >= 0
    assert answer["timestamp"].endswith("Z")
    assert set(answer["checks"]) == {"database", "celery", "record", "limits"}
    assert answer["checks"]["database"]["response_ms"] >= 0
    assert 0 <= answer["checks"]["celery"]["last_run_seconds_ago"] < 60
    assert 0 <= answer["checks"]["celery"]["queue_wait_seconds"] < 5


def test_a_new_installation_is_given_time(client: Client, settings: Settings) -> None:
    assert checks(client)["celery"] == HEALTHY | {"last_run_seconds_ago": None, "queue_wait_seconds": None}
    settings.WORKER_LATE_SECONDS = 0.001
    assert checks(client)["celery"]["status"] == "degraded"


def test_a_worker_that_is_gone_or_busy_degrades(client: Client, settings: Settings) -> None:
    taskruns.began(PULSE, "celery@a", sent_at=time.time() - background.WAIT_MAX_SECONDS - 1)
    assert checks(client)["celery"]["status"] == "degraded"
    taskruns.began(PULSE, "celery@a", sent_at=time.time())
    assert checks(client)["celery"]["status"] == "healthy"
    settings.WORKER_LATE_SECONDS = 0.001
    assert checks(client)["celery"]["status"] == "degraded"


def test_limits_that_each_process_counts_alone_degrade(client: Client) -> None:
    taskruns.began(PULSE, "celery@a", sent_at=time.time())
    assert checks(client)["limits"] == HEALTHY | {"limits": "one process"}
    found = Standing(None, 0)
    standing.told_by(lambda: found)
    try:
        assert checks(client)["limits"] == HEALTHY | {"limits": "shared"}
        found = Standing(datetime(2026, 11, 23, 7, tzinfo=UTC), 1)
        alone = "per process since 2026-11-23T07:00:00Z"
        assert checks(client)["limits"] == {"status": "degraded", "limits": alone}
    finally:
        standing.told_by(None)


def test_without_what_it_asks_it_says_so_and_no_more(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Any:
        raise ConnectionError("postgres://nexus:a-fake-password@db.example.com")

    monkeypatch.setitem(health.LOOKS, "database", health.Look("database", fail))
    response = client.get("/health")
    assert response.status_code == 200
    assert response.json()["checks"]["database"] == {"status": "degraded", "error": "not reachable"}
    assert b"example.com" not in response.content


def test_nobody_waits_for_what_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.05)
    go_on, asked = threading.Event(), threading.Semaphore(0)

    def hang() -> dict[str, Any]:
        asked.release()
        go_on.wait(30)
        return HEALTHY

    look = health.Look("test", hang)
    for _ in range(3):
        assert look() == {"status": "degraded", "error": "no answer in time"}
    assert asked.acquire(timeout=5)
    assert not asked.acquire(blocking=False), "one question at a time"
    go_on.set()
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 5)
    assert look() == HEALTHY


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"spooled_bytes": 10}, "healthy", 200),
        ({"spooled_bytes": 85}, "degraded", 200),
        ({"spooled_bytes": 120}, "degraded", 200),
        ({"lost_lately": 1}, "unhealthy", 503),
    ],
)
def test_a_process_that_loses_exchanges_is_unhealthy(
    client: Client, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], status: str, code: int
) -> None:
    now: Vitals = msgspec.structs.replace(VITALS, spool_limit_bytes=100, **changes)
    monkeypatch.setattr(vitals, "_own", now)
    assert checks(client, code)["record"]["status"] == status


def test_it_can_be_switched_off(client: Client, settings: Settings) -> None:
    settings.ENABLE_HEALTH_CHECKS = False
    assert client.get("/health").status_code == 404


def test_it_is_read_only(client: Client) -> None:
    assert client.post("/health").status_code == 405
