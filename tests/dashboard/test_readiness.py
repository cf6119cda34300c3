"""What a load balancer is told: a node that can serve stays in, one that cannot or will not goes out."""

import threading
from typing import Any

import pytest
from django.core.cache import cache
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from pytest_django import Settings

from dashboard import health
from telemetry import draining

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "KEPT_SECONDS", 0.0)
    monkeypatch.setattr(health, "_is_migrated", False)


def ready(client: Client, status: int, path: str = "/readyz") -> dict[str, Any]:
    response = client.get(path)
    assert response.status_code == status, response.content
    assert response.headers["Cache-Control"] == "no-store"
    answer = response.json()
    assert answer["status"] == ("ready" if status == 200 else "not ready")
    checks: dict[str, Any] = answer["checks"]
    return checks


@pytest.mark.parametrize("path", ["/readyz", "/health/ready"])
def test_each_part_says_how_it_is_and_how_long_it_took(client: Client, path: str) -> None:
    checks = ready(client, 200, path)
    assert set(checks) == {"draining", "migrations", "database", "redis", "record"}
    assert {check["status"] for check in checks.values()} == {"healthy"}
    for name in ("database", "migrations"):
        assert checks[name]["response_ms"] >= 0
    assert "response_ms" in checks["redis"] or "not used" in checks["redis"]["reason"]


def test_a_node_that_stops_is_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "_is_on", True)
    assert ready(client, 503)["draining"] == {"status": "unhealthy", "reason": "this process was told to stop"}
    assert client.get("/livez").status_code == 200


def test_a_database_that_is_not_migrated_is_not_ready(client: Client) -> None:
    last = MigrationRecorder.Migration.objects.filter(app="telemetry").latest("id")
    last.delete()
    check = ready(client, 503)["migrations"]
    assert check["reason"] == "1 missing: run `nexus migrate`"
    last.save()
    assert ready(client, 200)["migrations"]["status"] == "healthy"


def test_without_database_and_redis_it_stays_in(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go on, and their record waits in the spool: to take every node out would be the outage."""

    def away() -> health.Check:
        raise OSError("postgres://user:secret@db")

    monkeypatch.setattr(health, "_is_migrated", True)
    monkeypatch.setitem(health.READINESS, "database", health.Look("database", away))
    monkeypatch.setitem(health.READINESS, "redis", health.Look("redis", away))
    checks = ready(client, 200)
    assert checks["database"] == checks["redis"] == {"status": "degraded", "error": "not reachable"}


def test_what_hangs_makes_nobody_wait_for_long(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it hangs at once, and the answer still comes before a probe gives up."""
    go_on = threading.Event()

    def hang() -> health.Check:
        go_on.wait(30)
        return {"status": "healthy"}

    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.1)
    waits: list[float] = []
    for name in ("database", "redis", "migrations"):
        look = health.Look(name, hang)
        monkeypatch.setitem(health.READINESS, name, look)
        monkeypatch.setattr(look, "begin", _noting(look.begin, waits))
    try:
        checks = ready(client, 200)
        assert checks["database"]["error"] == "no answer in time"
        assert sum(waits) <= 0.2
    finally:
        go_on.set()


def _noting(begin: Any, waits: list[float]) -> Any:
    class Noted:
        def __init__(self, future: Any) -> None:
            self._future = future

        def result(self, seconds: float) -> Any:
            waits.append(seconds)
            return self._future.result(seconds)

    return lambda: Noted(begin())


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/livez", "/readyz"])
def test_a_probe_may_call_a_node_by_any_name(client: Client, settings: Settings, path: str) -> None:
    cache.clear()
    settings.SECURE_SSL_REDIRECT = True
    assert client.get(path, headers={"host": "10.1.2.3:8000"}).status_code == 200
    assert client.get("/dashboard/login", headers={"host": "10.1.2.3:8000"}).status_code != 200
    assert client.post(path, headers={"host": "10.1.2.3:8000"}).status_code == 405
    settings.ENABLE_HEALTH_CHECKS = False
    assert client.get(path, secure=True).status_code == 404
