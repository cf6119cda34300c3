from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings

from accounts.models import ClientKey, Installation
from nexus.embedded import celery_threads
from telemetry.tasks import note_last_use
from tests.served import eventually
from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db(transaction=True)


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
    if settings.REDIS_URL:
        pytest.skip("one process only")
    key, _ = issued
    stored_exchange(client_key_id=key.id)
    with celery_threads():
        note_last_use.delay()
        eventually(lambda: ClientKey.objects.filter(id=key.id, last_used_at__isnull=False).exists())
