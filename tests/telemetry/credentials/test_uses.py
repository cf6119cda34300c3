"""Who has used a credential in the last hour: counted, or told by the sums of hours where there is too much."""

from datetime import UTC, datetime, timedelta

import pytest
from pytest_django import DjangoAssertNumQueries

from accounts.ids import first_id_at, new_id
from accounts.models import Credential, Domain
from telemetry.credentials import uses
from telemetry.credentials.uses import Use
from telemetry.models import HourRow
from tests.telemetry.facts import stored_exchange

NOW = datetime(2026, 11, 23, 13, 15, tzinfo=UTC)


def exchange_at(at: datetime, credential: Credential, domain: Domain) -> None:
    new = new_id()
    begins = first_id_at(at)
    row_id = type(new)(int=begins.int | (new.int & ((1 << 64) - 1)))
    stored_exchange(id=row_id, started_at=at, credential_id=credential.id, domain_id=domain.id)


def test_the_last_hour_is_counted_by_domain(
    credential: Credential, domain: Domain, other_domain: Domain, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for minutes, where in ((1, domain), (59, other_domain), (30, other_domain), (61, domain), (-1, domain)):
        exchange_at(NOW - timedelta(minutes=minutes), credential, where)
    with django_assert_num_queries(3):
        found = uses.uses([credential.id, new_id()], NOW)
    assert found == {credential.id: [Use(other_domain.host, 2), Use(domain.host, 1)]}


def test_a_flood_is_told_by_the_sums(credential: Credential, domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses, "EXACT_MAX", 1)
    for minutes in (1, 2):
        exchange_at(NOW - timedelta(minutes=minutes), credential, domain)
    hour = NOW.replace(minute=0)
    for at, requests in ((hour, 70), (hour - uses.HOUR, 400), (hour - 2 * uses.HOUR, 1000)):
        HourRow.objects.create(
            id=new_id(),
            hour=at,
            domain=domain,
            credential=credential,
            kind="inference",
            requests=requests,
            last_started_at=at,
        )
    assert uses.uses([credential.id], NOW) == {credential.id: [Use(domain.host, 70 + 300, is_estimate=True)]}
