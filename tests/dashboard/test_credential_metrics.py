"""What Prometheus hears of credentials."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import Credential, Domain
from dashboard.collectors.credentials import CredentialCollector
from telemetry.credentials import marking
from tests.telemetry.credentials.standings import Known

pytestmark = pytest.mark.django_db
HOST = "claude.example.com"


@pytest.fixture(autouse=True)
def known(settings: Settings, tmp_path: Path) -> Known:
    settings.REDIS_URL, settings.NEXUS_DATA = "", tmp_path
    settings.UPSTREAM = replace(settings.UPSTREAM, default_api_key="")
    return Known(tmp_path)


def told() -> dict[str, dict[tuple[str, ...], float]]:
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in CredentialCollector().collect()
    }


def statuses() -> set[tuple[str, ...]]:
    found = told()["nexus_credential_status"]
    assert set(found.values()) <= {0.0, 1.0}
    return {labels for labels, value in found.items() if value}


def test_each_has_one_status(credential: Credential, domain: Domain, known: Known) -> None:
    Credential.objects.create(domain=domain, name="off", secret="y" * 20, is_active=False)
    assert statuses() == {("main", HOST, "ok")}
    assert len(told()["nexus_credential_status"]) == 5
    known.cool(credential)
    assert statuses() == {("main", HOST, "cooling")}
    marking.mark_invalid(credential.id, "401")
    assert statuses() == {("main", HOST, "invalid")}


def test_when_it_was_checked_and_when_it_ends(credential: Credential) -> None:
    now = timezone.now()
    assert told()["nexus_credential_checked_timestamp_seconds"] == {}
    marking.note(credential.id, checked_at=now)
    Credential.objects.update(expires_at=now + timedelta(days=1))
    assert told()["nexus_credential_checked_timestamp_seconds"] == {("main", HOST): now.timestamp()}
    assert told()["nexus_credential_expires_timestamp_seconds"] == {("main", HOST): now.timestamp() + 86_400}


def test_of_all_families_the_tightest_counts(credential: Credential, known: Known) -> None:
    known.limit(credential, "haiku", requests=0.5, tokens=0.9)
    known.limit(credential, "opus", requests=0.25)
    left = told()["nexus_credential_headroom_ratio"]
    assert left == {("main", HOST, "requests"): 0.25, ("main", HOST, "tokens"): 0.9}


def test_two_of_one_name_are_told_apart(credential: Credential, domain: Domain, other_domain: Domain) -> None:
    Credential.objects.create(domain=other_domain, name="main", secret="y" * 20)
    assert {names[:2] for names in statuses()} == {("main", HOST), ("main", "other.example.com")}
    Credential.objects.create(domain=domain, name="main", secret="y" * 20)
    assert len(statuses()) == 3
    assert ("main", HOST, "ok") not in statuses()


def test_the_key_of_the_environment_has_a_status_too(settings: Settings, known: Known) -> None:
    settings.UPSTREAM = replace(settings.UPSTREAM, default_api_key="sk-ant-api03-fake-default-key-01")
    assert statuses() == {("CLAUDE_API_KEY", "", "ok")}
    known.open_key("environment")
    assert statuses() == {("CLAUDE_API_KEY", "", "open")}


def test_it_costs_one_query(
    credential: Credential, domain: Domain, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    Credential.objects.create(domain=domain, name="second", secret="y" * 20)
    with django_assert_num_queries(1):
        told()
