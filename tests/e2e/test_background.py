"""A worker that is absent or stuck is seen from outside, and so is its return."""

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.standin import Standin
from tests.served import Served, end, eventually, running, serve

pytestmark = pytest.mark.e2e
FAKE_KEY = "fake-dashboard-key-0001"


def watched(data: Path, standin: Standin, database: int = 0) -> contextlib.AbstractContextManager[Served]:
    """Where a pulse is late after two seconds. With Redis: in a database there that no other test's workers read."""
    redis = os.environ.get("REDIS_URL", "").removesuffix("/0")
    own = {"REDIS_URL": f"{redis}/{database}"} if redis else {}
    return serve(data, standin.url, WORKER_LATE_SECONDS="2", DASHBOARD_API_KEY=FAKE_KEY, **dict[str, Any](own))


def health(served: Served) -> dict[str, Any]:
    answer = httpx.get(f"{served.url}/health", trust_env=False, timeout=10)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def until(served: Served, status: str) -> dict[str, Any]:
    """The check of Celery, once it says so."""

    def look() -> dict[str, Any] | None:
        check: dict[str, Any] = health(served)["checks"]["celery"]
        return check if check["status"] == status and check["last_run_seconds_ago"] is not None else None

    found = eventually(look, seconds=60)
    assert found
    return found


def system(served: Served) -> dict[str, Any]:
    answer = httpx.get(f"{served.url}/api/system", headers={"X-Dashboard-Key": FAKE_KEY}, trust_env=False)
    found: dict[str, Any] = answer.json()
    return found


def metric(served: Served, name: str) -> float:
    text = httpx.get(f"{served.url}/metrics", headers={"X-Dashboard-Key": FAKE_KEY}, trust_env=False).text
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")))


@pytest.mark.skipif(bool(os.environ.get("REDIS_URL")), reason="one process only")
def test_one_process_does_its_background_work(standin: Standin, tmp_path: Path) -> None:
    with watched(tmp_path, standin) as served:
        assert until(served, "healthy")["last_run_seconds_ago"] < 2
        (pulse,) = [task for task in system(served)["tasks"] if task["name"] == "pulse"]
        assert (pulse["state"], pulse["failures"]) == ("succeeded", 0)


@pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="workers of their own need Redis")
def test_a_killed_and_a_stuck_worker_are_seen_and_their_return_too(standin: Standin, tmp_path: Path) -> None:
    with watched(tmp_path, standin, database=5) as served, running(served, "beat"):
        with running(served, "worker") as worker:
            until(served, "healthy")
            assert health(served)["status"] == "healthy"
            end(worker)
            late = until(served, "degraded")
            assert late["last_run_seconds_ago"] >= 2  # rounded to a tenth
            assert health(served)["status"] == "degraded"
            eventually(lambda: metric(served, "nexus_celery_pulse_age_seconds") > 2)
            eventually(lambda: metric(served, "nexus_celery_queue_tasks") > 0)
            assert system(served)["queue"]["oldest_seconds"] > 0
        with running(served, "worker") as worker:
            until(served, "healthy")
            end(worker, signal.SIGSTOP)
            until(served, "degraded")
            end(worker, signal.SIGCONT)
            until(served, "healthy")
        # What piled up had expired: nobody is busy with it.
        assert system(served)["pulse"]["queue_wait_seconds"] is not None


@pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="beat of its own needs Redis")
def test_without_beat_it_is_seen_too(standin: Standin, tmp_path: Path) -> None:
    with watched(tmp_path, standin, database=6) as served, running(served, "worker"):
        with running(served, "beat"):
            until(served, "healthy")
        until(served, "degraded")
        assert system(served)["queue"]["tasks"] == 0
