"""How a credential stands: the first of invalid, open, cooling, expiring and ok that holds, and why."""

import asyncio
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import Credential, Domain, OAuthToken
from telemetry.credentials import marking, reading
from telemetry.credentials.board import Board
from telemetry.credentials.circuit import Opening
from telemetry.credentials.conf import CircuitConf, CoolingConf
from telemetry.credentials.events import Cooling
from telemetry.credentials.reading import Standing
from telemetry.credentials.status import State, Status, status_of, statuses, with_rows
from tests.telemetry.credentials.standings import Known

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def known(settings: Settings, tmp_path: Path) -> Known:
    settings.REDIS_URL, settings.NEXUS_DATA = "", tmp_path
    return Known(tmp_path)


def now(credential: Credential, standing: Standing | None = None) -> Status:
    return status_of(with_rows(Credential.objects.filter(id=credential.id)).get(), standing, timezone.now())


def cooling(*families: str, seconds: float = 60) -> Standing:
    at = time.time()
    return Standing(coolings={family: Cooling(at - 10, at + seconds, at) for family in families})


def opened(seconds: float = 30) -> Standing:
    at = time.time()
    return Standing(opening=Opening(at, at - 5, at + seconds, 0, "the API answered 500"))


def renewable(domain: Domain, kind: str = "oauth", **token: Any) -> Credential:
    credential = Credential.objects.create(domain=domain, name=kind, kind=kind)
    if token:
        OAuthToken.objects.create(credential=credential, **token)
    return credential


def test_one_of_which_nothing_bad_is_known(credential: Credential) -> None:
    assert now(credential) == Status(state=State.OK)
    assert now(credential).is_ok


def test_the_first_that_holds_counts(credential: Credential) -> None:
    Credential.objects.filter(id=credential.id).update(expires_at=timezone.now() + DAY)
    assert now(credential).state is State.EXPIRING
    assert now(credential, cooling("haiku")).state is State.COOLING
    both = Standing(opening=opened().opening, coolings=cooling("haiku").coolings)
    assert now(credential, both).state is State.OPEN
    marking.mark_invalid(credential.id, "The API does not take it (401).")
    found = now(credential, both)
    assert (found.state, found.reason) == (State.INVALID, "The API does not take it (401).")
    assert found.since is not None
    assert not found.is_ok


def test_cooling_says_what_and_until_when(credential: Credential) -> None:
    found = now(credential, cooling("sonnet", "haiku"))
    assert found.reason == "The API has answered 429 for haiku, sonnet."
    assert found.since is not None
    assert found.until is not None
    assert found.since < timezone.now() < found.until
    assert now(credential, cooling("haiku", seconds=-1)).state is State.OK


def test_an_open_circuit_says_why_and_when_it_is_tried(credential: Credential) -> None:
    found = now(credential, opened())
    assert found.reason == "It is left alone for a while: the API answered 500."
    assert found.until is not None
    assert found.until > timezone.now()
    assert now(credential, opened(-1)).reason == "It is tried again with the next request: the API answered 500."
    assert now(credential, Standing(opening=Opening(time.time()))).state is State.OK


def test_a_key_that_ends(credential: Credential) -> None:
    def ends(after: timedelta) -> Status:
        Credential.objects.filter(id=credential.id).update(expires_at=timezone.now() + after)
        return now(credential)

    assert ends(8 * DAY).state is State.OK
    assert ends(6 * DAY).reason.startswith("Its key ends on ")
    assert ends(-DAY).reason.startswith("Its key ended on ")


def test_a_token_that_renews_itself(domain: Domain) -> None:
    soon = timezone.now() + timedelta(minutes=4)
    assert now(renewable(domain, access_token="x" * 20, expires_at=soon)).state is State.OK
    over = timezone.now() - DAY  # the next request renews it
    assert now(renewable(domain, access_token="x" * 20, expires_at=over)).state is State.OK


@pytest.mark.parametrize(
    ("ends_in", "token", "state", "reason"),
    [
        (DAY, {"failures": 3, "failure": "The endpoint says 500."}, State.EXPIRING, "3 times in a row. The endpoint"),
        (-DAY, {"failures": 3, "failure": "The endpoint says 500."}, State.INVALID, "3 times in a row. The endpoint"),
        (DAY, {"needs_login": True, "failure": "invalid_grant"}, State.EXPIRING, "It needs a sign-in. invalid_grant"),
        (-DAY, {"needs_login": True, "failure": "invalid_grant"}, State.INVALID, "It needs a sign-in. invalid_grant"),
    ],
)
def test_a_token_that_cannot_be_renewed(
    ends_in: timedelta, token: dict[str, Any], state: State, reason: str, domain: Domain
) -> None:
    found = now(renewable(domain, access_token="x" * 20, expires_at=timezone.now() + ends_in, **token))
    assert found.state is state
    assert reason in found.reason


def test_without_a_token_only_a_person_can_sign_in(domain: Domain) -> None:
    assert now(renewable(domain)).reason == "It needs a sign-in: it has no token yet."
    assert now(renewable(domain, "federation")).state is State.OK
    failing = renewable(domain, "federation", failures=1, failure="There is no such file.")
    assert now(failing).state is State.INVALID


def test_an_unreadable_token_has_a_status_too(domain: Domain, settings: Settings) -> None:
    credential = renewable(domain, access_token="x" * 20)
    settings.NEXUS_ENCRYPTION_KEYS = Fernet.generate_key().decode()
    assert now(credential).state is State.OK


def test_many_are_asked_for_at_once(
    domain: Domain, known: Known, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    rows = [Credential.objects.create(domain=domain, name=f"{n}", secret="y" * 20) for n in range(5)]
    known.open(rows[1])
    known.cool(rows[2])
    with django_assert_num_queries(1):
        found = statuses(with_rows(Credential.objects.all()))
    states = [found[row.id].state for row in rows]
    assert states == [State.OK, State.OPEN, State.COOLING, State.OK, State.OK]


def test_processes_that_do_not_answer_are_not_taken_for_well(credential: Credential) -> None:
    async def serve() -> None:
        reading.known_here(Board(CircuitConf(), CoolingConf()))

    loop = asyncio.new_event_loop()
    loop.run_until_complete(serve())  # and stands still from then on
    try:
        (found,) = statuses(with_rows(Credential.objects.all())).values()
    finally:
        reading.known_here(None)
        loop.close()
    assert found == Status(state=State.OK, is_known=False)
