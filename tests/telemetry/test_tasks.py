from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings as django_settings
from pytest_django import Settings

from accounts.ids import new_id
from accounts.models import ClientKey, Installation
from nexus.embedded import celery_threads
from telemetry.models import LedgerRow
from telemetry.tasks import note_last_use, send_notices, tell_on_time, watch
from tests.served import eventually
from tests.telemetry.facts import stored_exchange
from tests.telemetry.notices.slackserver import SlackServer, serve_slack
from tests.telemetry.notices.told import configure

pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def slack_server() -> Iterator[SlackServer]:
    with serve_slack() as server:
        yield server


def test_it_notes_when_each_key_was_last_used_and_tells_nobody(issued: tuple[ClientKey, str]) -> None:
    key, _ = issued
    latest = datetime.now(UTC) - timedelta(minutes=1)
    for age in (0, 3, 2):
        stored_exchange(client_key_id=key.id, started_at=latest - timedelta(minutes=age))
    generation = Installation.current().generation
    assert note_last_use() == 1
    key.refresh_from_db()
    assert key.last_used_at == latest
    assert Installation.current().generation == generation


def test_a_late_row_does_not_turn_the_clock_back(issued: tuple[ClientKey, str]) -> None:
    key, _ = issued
    now = datetime.now(UTC)
    ClientKey.objects.filter(id=key.id).update(last_used_at=now)
    stored_exchange(client_key_id=key.id, started_at=now - timedelta(minutes=2))
    note_last_use()
    key.refresh_from_db()
    assert key.last_used_at == now


def test_the_embedded_worker_runs_tasks_and_stops(issued: tuple[ClientKey, str]) -> None:
    if django_settings.REDIS_URL:
        pytest.skip("one process only")
    key, _ = issued
    stored_exchange(client_key_id=key.id)
    with celery_threads():
        note_last_use.delay()
        eventually(lambda: ClientKey.objects.filter(id=key.id, last_used_at__isnull=False).exists())


def test_what_is_wrong_is_told_once_by_tasks_that_run_twice(slack_server: SlackServer, settings: Settings) -> None:
    configure(settings, webhook_url=slack_server.url)
    LedgerRow.objects.create(id=new_id(), node="gone", started_at=LONG_AGO, seen_at=LONG_AGO)
    for task in (watch, watch, tell_on_time, send_notices, send_notices):
        task()
    assert slack_server.words == ["A process on gone is silent"]
