"""Credentials that are marked invalid are asked with again, and come back by themselves."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from accounts.models import Credential, CredentialStanding, Domain, OAuthToken
from bench.standin import Standin
from telemetry.credentials import marking, rechecking
from telemetry.credentials.rechecking import EVERY, recheck
from telemetry.models import Delivery, Incident
from telemetry.models.incidents import State
from telemetry.notices.candidates import AUDIENCE
from telemetry.notices.incidents import evaluate
from telemetry.notices.rules import credential_invalid
from tests.services import free_port
from tests.telemetry.credentials.test_checking import FAKE_TOKEN, REVOKED
from tests.telemetry.notices.told import FAKE_WEBHOOK, configure

pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO = EVERY + timedelta(seconds=1)


@pytest.fixture
def team() -> Domain:
    return Domain.objects.create(host="claude.example.com")


def invalid(team: Domain, name: str, ago: timedelta | None = LONG_AGO, secret: str = "") -> Credential:
    credential = Credential.objects.create(
        domain=team, name=name, owner="Grace", secret=secret or f"sk-ant-api03-fake-{name}-0000000001"
    )
    marking.mark_invalid(credential.id, "The API does not take it (401).")
    marking.note(credential.id, checked_at=timezone.now() - ago if ago is not None else None)
    return credential


def is_invalid(credential: Credential) -> bool:
    return CredentialStanding.objects.get(credential=credential).invalid_since is not None


def asked(standin: Standin) -> int:
    return len(standin.recorder.exchanges)


def test_what_is_taken_again_comes_back(team: Domain, standin: Standin) -> None:
    back, still = invalid(team, "back"), invalid(team, "still", secret=REVOKED)
    assert recheck() == 1
    assert (is_invalid(back), is_invalid(still)) == (False, True)
    assert recheck() == 0  # ten minutes are not over
    assert asked(standin) == 2


def test_it_is_asked_with_every_ten_minutes(team: Domain, standin: Standin) -> None:
    invalid(team, "lately", ago=EVERY - timedelta(seconds=5), secret=REVOKED)
    recheck()
    assert asked(standin) == 0
    invalid(team, "never", ago=None, secret=REVOKED)
    recheck()
    assert asked(standin) == 1


def test_what_is_well_or_switched_off_is_left_alone(team: Domain, standin: Standin) -> None:
    Credential.objects.create(domain=team, name="well", secret="y" * 20)
    off = invalid(team, "off")
    Credential.objects.filter(id=off.id).update(is_active=False)
    assert recheck() == 0
    assert asked(standin) == 0


def test_a_new_token_is_tried_at_once(team: Domain, standin: Standin) -> None:
    credential = Credential.objects.create(domain=team, name="login", kind=Credential.Kind.OAUTH)
    marking.mark_invalid(credential.id, "401")
    marking.note(credential.id, checked_at=timezone.now())
    later = timezone.now() + timedelta(hours=1)
    token = OAuthToken.objects.create(credential=credential, access_token=FAKE_TOKEN, expires_at=later)
    assert recheck() == 0
    OAuthToken.objects.filter(pk=token.pk).update(refreshed_at=timezone.now())
    assert recheck() == 1
    assert not is_invalid(credential)


def test_where_nobody_answers_the_next_does_not_wait_too(team: Domain, settings: Settings) -> None:
    rows = [invalid(team, f"one-{n}") for n in range(3)]
    before = timezone.now() - timedelta(minutes=1)
    settings.UPSTREAM = replace(settings.UPSTREAM, base_url=f"http://127.0.0.1:{free_port()}")
    assert recheck() == 0
    assert CredentialStanding.objects.filter(checked_at__gt=before).count() == 1
    assert all(map(is_invalid, rows))


def test_one_run_has_a_bound(team: Domain, standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rechecking, "RUN_MAX", 2)
    for n in range(3):
        invalid(team, f"one-{n}", secret=f"{REVOKED}{n}")
    recheck()
    assert asked(standin) == 2
    recheck()
    assert asked(standin) == 3
    for row in CredentialStanding.objects.all():
        marking.note(row.credential_id, checked_at=None)
    assert recheck(seconds=0) == 0
    assert asked(standin) == 3


def test_many_workers_ask_once(team: Domain, standin: Standin) -> None:
    for n in range(3):
        invalid(team, f"one-{n}", secret=f"{REVOKED}{n}")
    together = threading.Barrier(4)

    def run() -> None:
        together.wait(10)
        try:
            recheck()
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert asked(standin) == 3


def test_people_are_told_when_it_begins_and_when_it_ends(team: Domain, standin: Standin, settings: Settings) -> None:
    AUDIENCE.forget()
    configure(settings, webhook_url=FAKE_WEBHOOK)
    credential = invalid(team, "main", ago=None)
    now = timezone.now()
    for seconds in (0, 30):
        evaluate([credential_invalid.RULE], now + timedelta(seconds=seconds))
    assert Incident.objects.get().state == State.OPEN
    assert Delivery.objects.count() == 1
    assert recheck() == 1
    assert not is_invalid(credential)
    for seconds in (60, 90):
        evaluate([credential_invalid.RULE], now + timedelta(seconds=seconds))
    assert Incident.objects.get().state == State.RESOLVED
    assert Delivery.objects.count() == 2
