import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.ids import new_id
from accounts.models import Domain
from telemetry.models import Candidate, ExchangeRow, SlackSettings
from telemetry.notices import candidates
from telemetry.notices.candidates import AUDIENCE
from telemetry.record.exchange import Kind, Outcome
from telemetry.record.store import store
from tests.telemetry.facts import closed, exchange
from tests.telemetry.notices.told import FAKE_WEBHOOK, configure

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _slack(settings: Settings) -> None:
    configure(settings, webhook_url=FAKE_WEBHOOK)


def noted(**changes: Any) -> int:
    store([closed(**changes)])
    return Candidate.objects.count()


def test_an_exchange_is_noted_with_the_batch_that_stores_it(domain: Domain) -> None:
    one = closed(domain_id=domain.id)
    store([one])
    noted = Candidate.objects.get()
    assert (noted.exchange_id, noted.domain_id, noted.is_error) == (one.exchange.id, domain.id, False)


def test_a_batch_that_is_stored_twice_is_noted_once(domain: Domain) -> None:
    batch = [closed(domain_id=domain.id) for _ in range(3)]
    store(batch[:2])
    Candidate.objects.all().delete()  # a task has dealt with them
    store(batch)
    assert list(Candidate.objects.values_list("exchange_id", flat=True)) == [batch[2].exchange.id]


def test_what_cannot_be_stored_is_not_noted(domain: Domain) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite takes anything")
    good, bad = closed(domain_id=domain.id), closed(domain_id=domain.id, path="x" * 501)
    store([good, bad])
    assert Candidate.objects.get().exchange_id == good.exchange.id
    assert ExchangeRow.objects.count() == 1


@pytest.mark.parametrize("kind", [Kind.QUERY_EVALUATION, Kind.QUOTA, Kind.COUNT_TOKENS, Kind.OTHER])
def test_other_kinds_are_not_noted(domain: Domain, kind: Kind) -> None:
    assert noted(domain_id=domain.id, kind=kind) == 0


@pytest.mark.parametrize(
    ("outcome", "error_type", "count"),
    [
        (Outcome.API_ERROR, "overloaded_error", 1),
        (Outcome.UPSTREAM_FAILED, "api_error", 1),
        (Outcome.BROKEN, "api_error", 1),
        (Outcome.FAILED, "api_error", 1),
        (Outcome.REFUSED, "invalid_request_error", 1),
        (Outcome.API_ERROR, "authentication_error", 1),
        (Outcome.REFUSED, "authentication_error", 0),
        (Outcome.REFUSED, "permission_error", 0),
        (Outcome.CANCELLED, "", 0),
        (Outcome.INTERRUPTED, "", 0),
    ],
)
def test_which_ends_are_errors_of_a_domain(domain: Domain, outcome: Outcome, error_type: str, count: int) -> None:
    assert noted(domain_id=domain.id, outcome=outcome, error_type=error_type, status=400) == count
    assert all(Candidate.objects.values_list("is_error", flat=True))


def test_domains_that_are_silent_are_not_noted(domain: Domain, other_domain: Domain) -> None:
    SlackSettings.objects.create(domain=domain, is_on=False)
    personal = Domain.objects.create(host="personal.example.com")
    assert noted(domain_id=domain.id) == noted(domain_id=personal.id) == noted(domain_id=new_id()) == 0
    assert noted(domain_id=other_domain.id) == 1


def test_what_is_stored_a_day_late_is_no_news(domain: Domain) -> None:
    assert noted(domain_id=domain.id, started_at=datetime.now(UTC) - timedelta(hours=25)) == 0


def test_the_writer_reads_the_settings_seldom(domain: Domain, settings: Settings) -> None:
    store([closed(domain_id=domain.id)])
    configure(settings)
    assert noted(domain_id=domain.id) == 2, "within five seconds they are as they were"
    AUDIENCE.forget()
    assert noted(domain_id=domain.id) == 2


def test_a_domain_without_slack_costs_nothing(domain: Domain, other_domain: Domain, settings: Settings) -> None:
    configure(settings)
    candidates.note([exchange(domain_id=domain.id)])
    with CaptureQueriesContext(connection) as queries:
        candidates.note([exchange(domain_id=domain.id) for _ in range(100)])
    assert len(queries) == 0


def test_settings_that_cannot_be_read_do_not_stop_the_record(domain: Domain, caplog: pytest.LogCaptureFixture) -> None:
    SlackSettings.objects.create(domain=domain)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE telemetry_slacksettings RENAME TO telemetry_away")
    try:
        assert noted(domain_id=domain.id) == 0
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE telemetry_away RENAME TO telemetry_slacksettings")
    assert ExchangeRow.objects.count() == 1
    assert "cannot be read" in caplog.text


def test_while_no_worker_comes_the_oldest_conversations_go(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "WAITING_MAX", 3)
    error = closed(domain_id=domain.id, outcome=Outcome.API_ERROR, status=500)
    batch = [closed(domain_id=domain.id) for _ in range(4)]
    store([error, *batch])
    AUDIENCE.forget()
    AUDIENCE.refresh()
    assert set(Candidate.objects.values_list("exchange_id", flat=True)) == {
        each.exchange.id for each in (error, *batch[2:])
    }


def test_nothing_of_what_was_said_is_in_a_candidate(domain: Domain) -> None:
    store([closed(json.dumps({"messages": [{"role": "user", "content": "canary"}]}).encode(), domain_id=domain.id)])
    assert "canary" not in str(Candidate.objects.values())
