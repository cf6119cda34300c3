"""What was found out about a credential is marked once, and the register hears of it."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection
from django.utils import timezone

from accounts.ids import new_id
from accounts.models import Credential, CredentialStanding, Domain, Installation
from accounts.register import load
from telemetry.credentials import marking


def generation() -> int:
    Installation.current()
    return Installation.objects.values_list("generation", flat=True).get()


def test_a_refused_credential_is_marked_once_and_the_first_reason_stays(credential: Credential) -> None:
    before = generation()
    assert marking.mark_invalid(credential.id, "401: expired")
    assert not marking.mark_invalid(credential.id, "401: something else")
    assert credential.standing.invalid_reason == "401: expired"
    assert credential.standing.invalid_since is not None
    assert generation() == before + 1


def test_the_register_knows_of_the_mark(credential: Credential, domain: Domain) -> None:
    marking.mark_invalid(credential.id, "x" * 1000)
    (facts,) = load().credentials[domain.id]
    assert facts.invalid_since is not None
    assert facts.invalid_reason == "x" * marking.REASON_MAX
    assert marking.mark_valid(credential.id)
    (facts,) = load().credentials[domain.id]
    assert facts.invalid_since is None
    assert facts.invalid_reason == ""


def test_what_is_not_marked_needs_no_news(credential: Credential) -> None:
    before = generation()
    assert not marking.mark_valid(credential.id)
    marking.note(credential.id, checked_at=timezone.now(), check_status=200)
    assert not marking.mark_valid(credential.id)
    assert credential.standing.check_status == 200
    assert generation() == before


def test_a_deleted_credential_is_left_alone(db: None) -> None:
    assert not marking.mark_invalid(new_id(), "401")
    assert not marking.mark_valid(new_id())
    assert not marking.roll_back(new_id(), "401")
    assert not CredentialStanding.objects.exists()


def test_a_replacement_loses_its_share_once(credential: Credential, domain: Domain) -> None:
    new = Credential.objects.create(domain=domain, name="new", secret="x" * 30, replaces=credential, traffic_percent=25)
    before = generation()
    assert marking.roll_back(new.id, "401: invalid x-api-key")
    assert not marking.roll_back(new.id, "403")
    new.refresh_from_db()
    assert new.traffic_percent == 0
    assert new.standing.rolled_back_reason == "401: invalid x-api-key"
    assert new.standing.rolled_back_at is not None
    assert generation() == before + 1


def test_a_credential_that_replaces_none_has_no_share_to_lose(credential: Credential) -> None:
    before = generation()
    assert not marking.roll_back(credential.id, "401")
    credential.refresh_from_db()
    assert credential.traffic_percent == 5
    assert generation() == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("has_a_row", [False, True])
def test_of_many_at_once_one_has_marked_it(has_a_row: bool) -> None:
    domain = Domain.objects.create(host="claude.example.com")
    credential = Credential.objects.create(domain=domain, name="main", secret="y" * 30)
    new = Credential.objects.create(domain=domain, name="new", secret="x" * 30, replaces=credential)
    if has_a_row:
        marking.note(new.id, check_status=200)
    assert sum(together(lambda: marking.mark_invalid(new.id, "401"))) == 1
    assert sum(together(lambda: marking.roll_back(new.id, "401"))) == 1
    assert sum(together(lambda: marking.mark_valid(new.id))) == 1


def together(do: Callable[[], bool], count: int = 6) -> list[bool]:
    """Of threads that all begin at the same moment."""
    found: list[bool] = []
    barrier = threading.Barrier(count)

    def run() -> None:
        barrier.wait(10)
        try:
            found.append(do())
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == count
    return found
