"""GET /api/system: how the installation is."""

import time
from datetime import UTC, datetime

import msgspec
import pytest
from django.core.cache import cache
from django.test import Client

from accounts.ids import new_id
from telemetry import queue, taskruns
from telemetry.metrics import vitals
from telemetry.record.ledger import Page
from telemetry.record.shelf import Shelf
from telemetry.record.store import Store
from telemetry.taskruns import PULSE
from tests.dashboard.asking import get
from tests.telemetry.metrics.test_process import VITALS

pytestmark = pytest.mark.django_db(transaction=True)
SYSTEM = "/api/system"


@pytest.fixture(autouse=True)
def nothing_said_yet() -> None:
    cache.clear()


def test_processes_tell_how_they_are(script: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals, "_own", None)
    store, now = Store(Shelf()), datetime.now(UTC)
    speaking, silent, ended = (Page(process_id=new_id(), node="a", started_at=now) for _ in range(3))
    for page in (speaking, silent, msgspec.structs.replace(ended, ended_at=now)):
        store([], page)
    vitals.publish(msgspec.structs.replace(VITALS, process=speaking.process_id, in_flight=3))
    found = {row["process"]: row["vitals"] for row in get(script, SYSTEM)["processes"]}
    assert set(found) == {str(speaking.process_id), str(silent.process_id)}
    assert found[str(speaking.process_id)]["in_flight"] == 3
    assert found[str(silent.process_id)] is None


def test_each_task_tells_how_it_last_ran(script: Client) -> None:
    taskruns.began(PULSE, "celery@a", sent_at=time.time() - 1)
    taskruns.ended(PULSE, "OperationalError")
    answer = get(script, SYSTEM)
    found = {row["name"]: row for row in answer["tasks"]}
    assert found["pulse"]["state"] == "failed"
    assert found["pulse"]["error_type"] == "OperationalError"
    assert found["pulse"]["failures"] == 1
    assert found["pulse"]["succeeded_at"] is None
    assert found["clean-record"]["state"] is None
    assert answer["pulse"]["queue_wait_seconds"] >= 1
    assert answer["queue"]["tasks"] >= 0


def test_without_redis_the_rest_is_shown(
    script: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away() -> queue.Waiting:
        raise ConnectionError("redis://user:a-fake-password@example.com")

    monkeypatch.setattr(queue, "waiting", away)
    answer = get(script, SYSTEM)
    assert answer["queue"] is None
    assert answer["version"]
    assert "a-fake-password" not in caplog.text


def test_who_sees_some_domains_sees_no_system(console: Client, client: Client) -> None:
    assert console.get(SYSTEM).status_code == 403
    assert client.get(SYSTEM).status_code == 401
