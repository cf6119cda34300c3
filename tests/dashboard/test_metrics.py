"""Who may scrape, and what is said where something cannot be asked."""

import re
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pytest_django import Settings

from accounts.ids import new_id
from dashboard.collectors import COLLECTORS
from dashboard.collectors.asked import CACHE, Asked, Together
from telemetry import taskruns
from telemetry.models import Delivery, ExportRow, Incident, Target
from telemetry.models.incidents import State as IncidentState
from telemetry.models.notices import State
from telemetry.money.marks import mark
from telemetry.taskruns import PULSE
from tests.telemetry.facts import exchange

pytestmark = pytest.mark.django_db
FAKE_TOKEN = "fake-metrics-token-0001"


@pytest.fixture
def scraper(settings: Settings, db: None) -> Client:
    settings.METRICS_TOKEN = FAKE_TOKEN
    return Client(headers={"Authorization": f"Bearer {FAKE_TOKEN}"})


def test_the_token_the_key_and_a_superuser_open_it(scraper: Client, script: Client) -> None:
    superuser = Client()
    superuser.force_login(User.objects.create_superuser("ada"))
    for who in (scraper, script, superuser):
        response = who.get("/metrics")
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/plain")
        assert response.headers["Cache-Control"] == "no-store"
        assert "nexus_record_gap 0.0" in response.content.decode()


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer", f"Basic {FAKE_TOKEN}", FAKE_TOKEN, "Bearer \xff", ""])
def test_nothing_else_does(settings: Settings, header: str) -> None:
    settings.METRICS_TOKEN = FAKE_TOKEN
    response = Client(headers={"Authorization": header}).get("/metrics")
    assert response.status_code == 401
    assert FAKE_TOKEN not in response.content.decode()


def test_without_a_token_no_token_opens_it(settings: Settings) -> None:
    settings.METRICS_TOKEN = ""
    assert Client(headers={"Authorization": "Bearer "}).get("/metrics").status_code == 401


def test_who_sees_some_domains_sees_no_metrics_and_a_token_opens_nothing_else(scraper: Client, console: Client) -> None:
    assert console.get("/metrics").status_code == 403
    for path in ("/api/system", "/api/ledger", "/api/requests"):
        assert scraper.get(path).status_code == 401


def test_it_can_be_switched_off(scraper: Client, settings: Settings) -> None:
    settings.ENABLE_METRICS = False
    assert scraper.get("/metrics").status_code == 404
    assert Client().get("/metrics").status_code == 404


def test_tasks_tell_when_they_ran_and_how_often_they_failed(scraper: Client) -> None:
    taskruns.began(PULSE, "celery@a", sent_at=time.time() - 2)
    taskruns.ended(PULSE, "OperationalError")
    text = scraper.get("/metrics").content.decode()
    assert 'nexus_task_failures{task="pulse"} 1.0' in text
    assert 0 <= _value(text, "nexus_celery_pulse_age_seconds") < 60
    assert 2 <= _value(text, "nexus_celery_queue_wait_seconds") < 60
    assert "nexus_celery_queue_tasks" in text


def test_sums_by_the_hour_tell_how_far_they_are(scraper: Client) -> None:
    text = scraper.get("/metrics").content.decode()
    assert _value(text, "nexus_rollup_marks") == 0
    one = exchange()
    mark([(one.id, None)])
    text = scraper.get("/metrics").content.decode()
    assert _value(text, "nexus_rollup_marks") == 1
    assert abs(_value(text, "nexus_rollup_oldest_mark_timestamp_seconds") - time.time()) < 60


def test_what_is_on_its_way_is_told(scraper: Client) -> None:
    now = timezone.now()
    for state in (State.PENDING, State.PENDING, State.HELD, State.FAILED, State.DELIVERED):
        Delivery.objects.create(notice_id=new_id(), sink="slack", position=new_id(), give_up_at=now, state=state)
    Delivery.objects.filter(state=State.HELD).update(due_at=now - timedelta(days=1))
    Target.objects.create(id="a", label="a", failing_since=now)
    ExportRow.objects.create(exchange_id=new_id(), due_at=now)
    text = scraper.get("/metrics").content.decode()
    assert _value(text, 'nexus_deliveries_waiting{state="pending"}') == 2
    assert _value(text, 'nexus_deliveries_waiting{state="held"}') == 1
    assert _value(text, 'nexus_deliveries_waiting{state="sending"}') == 0
    assert _value(text, "nexus_deliveries_failed") == 1
    assert _value(text, "nexus_targets_failing") == 1
    assert _value(text, "nexus_exports_waiting") == 1
    assert abs(_value(text, "nexus_delivery_oldest_timestamp_seconds") - now.timestamp()) < 60, "what is held may wait"


def test_incidents_are_told_by_severity_until_they_are_resolved(scraper: Client) -> None:
    now = timezone.now()
    facts = {"opened_at": now, "updated_at": now, "seen_at": now, "evaluated_at": now, "told_at": now}
    for number, state in enumerate((IncidentState.OPEN, IncidentState.ACKNOWLEDGED, IncidentState.RESOLVED)):
        Incident.objects.create(rule="a", object=str(number), severity="critical", state=state, **facts)
    text = scraper.get("/metrics").content.decode()
    assert _value(text, 'nexus_incidents_open{severity="critical"}') == 2
    assert _value(text, 'nexus_incidents_open{severity="warning"}') == 0


def test_collectors_have_names_of_their_own() -> None:
    names = [asked.name for asked in COLLECTORS]
    assert sorted(set(names)) == sorted(names)


def _value(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, name
    return float(found[1])


class Telling(Collector):
    def __init__(self) -> None:
        self.asked = 0
        self.fails = False

    def collect(self) -> Iterator[Metric]:
        self.asked += 1
        if self.fails:
            raise ConnectionError("a secret")
        yield GaugeMetricFamily("told", "Told", value=self.asked)


def said(*asked: Asked) -> dict[str, list[float]]:
    return {metric.name: [sample.value for sample in metric.samples] for metric in Together(asked).collect()}


def test_however_many_scrape_it_is_asked_once_in_a_while() -> None:
    telling = Telling()
    asked = Asked("a", telling, of=CACHE, kept_seconds=60)
    threads = [threading.Thread(target=said, args=(asked,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert telling.asked == 1
    assert said(asked) == {"told": [1], "nexus_collector_up": [1]}


def test_one_that_fails_says_nothing_and_its_neighbours_are_not_tried(caplog: pytest.LogCaptureFixture) -> None:
    failing, neighbour, other = Telling(), Telling(), Telling()
    failing.fails = True
    ways = (Asked("a", failing, "x", 0), Asked("b", neighbour, "x", 0), Asked("c", other, "y", 0))
    assert said(*ways) == {"told": [1], "nexus_collector_up": [0, 0, 1]}
    assert neighbour.asked == 0
    assert caplog.messages == ["the metrics of a are left out: ConnectionError"]
    failing.fails = False
    assert said(*ways)["nexus_collector_up"] == [1, 1, 1]
