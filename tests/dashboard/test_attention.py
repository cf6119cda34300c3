"""What needs somebody: the worst first, each with a way to it, and only what the viewer may see."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.access import EVERYTHING, Viewer
from accounts.models import Budget, ClientKey, Credential, CredentialStanding, Domain
from dashboard.attention import BAD, SHOWN_ANYWAY, TODO, WARN, attention
from telemetry.models import Delivery, Incident, LedgerRow
from telemetry.models.notices import State
from telemetry.notices.rules import RULES
from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db(transaction=True)


def said(viewer: Viewer = EVERYTHING) -> list[tuple[str, str]]:
    return [(item.tone, item.sentence) for item in attention(viewer)]


def test_a_new_installation_is_told_what_to_do_first(domain: Domain) -> None:
    assert [tone for tone, _ in said()] == [TODO, TODO]
    Credential.objects.create(domain=domain, name="main", secret="sk-ant-api03-fake-0")
    ClientKey.issue(domain, "first")
    assert said() == [(TODO, "No request has come yet.")]
    stored_exchange(domain_id=domain.id)
    assert said() == []


def test_the_worst_comes_first(domain: Domain, issued: tuple[ClientKey, str]) -> None:
    stored_exchange(domain_id=domain.id, client_key_id=issued[0].id)
    soon = timezone.now() + timedelta(days=2)
    Credential.objects.create(domain=domain, name="ends", secret="sk-ant-api03-fake-0", expires_at=soon)
    ended = Credential.objects.create(domain=domain, name="ended", secret="sk-ant-api03-fake-1")
    off = Credential.objects.create(domain=domain, name="off", secret="sk-ant-api03-fake-2", expires_at=soon)
    CredentialStanding.objects.update_or_create(
        credential=ended, defaults={"invalid_since": timezone.now(), "invalid_reason": "The API answered 401."}
    )
    Credential.objects.filter(pk=off.pk).update(is_active=False)
    found = said()
    assert [tone for tone, _ in found] == [BAD, WARN]
    assert "“ended” is invalid" in found[0][1]
    assert "“ends” is expiring" in found[1][1]


def test_a_gap_is_told_to_who_sees_all(domain: Domain, issued: tuple[ClientKey, str]) -> None:
    stored_exchange(domain_id=domain.id)
    now = timezone.now()
    LedgerRow.objects.create(id=issued[0].id, node="n", started_at=now, seen_at=now, accepted=9, stored=2)
    assert any("gap: 7 accepted" in sentence for _, sentence in said())
    assert not any("gap" in sentence for _, sentence in said(Viewer(frozenset({domain.id}), may_see_bodies=True)))


def test_what_is_anothers_is_not_told(domain: Domain, other_domain: Domain, issued: tuple[ClientKey, str]) -> None:
    stored_exchange(domain_id=domain.id)
    past = timezone.now() - timedelta(days=2)
    Credential.objects.create(domain=other_domain, name="theirs", secret="sk-ant-api03-fake-1", expires_at=past)
    Budget.objects.create(name="their budget", domain=other_domain, amount_usd=1, period="month")
    now = timezone.now()
    moments: dict[str, Any] = dict.fromkeys(("opened_at", "updated_at", "seen_at", "evaluated_at", "told_at"), now)
    facts = {"rule": "error_rate", "object": "x", "label": "x", "severity": "critical", "sentence": "their trouble"}
    Incident.objects.create(domain=other_domain, **facts, **moments)
    mine = Viewer(frozenset({domain.id}), may_see_bodies=True)
    Credential.objects.create(domain=domain, name="main", secret="sk-ant-api03-fake-0")
    assert said(mine) == []
    assert {"their trouble"} < {sentence for _, sentence in said()}


def test_the_rules_that_are_left_out_are_rules() -> None:
    assert set(SHOWN_ANYWAY) <= {rule.name for rule in RULES}


def test_the_first_page_shows_it(
    admin_client: Client, domain: Domain, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_max_num_queries(24):
        page = admin_client.get("/admin/").content.decode()
    assert "There is no credential" in page
    assert 'href="/admin/accounts/credential/add/"' in page
    assert Delivery.objects.filter(state=State.FAILED).count() == 0


def test_nothing_needs_anybody(admin_client: Client, domain: Domain, issued: tuple[ClientKey, str]) -> None:
    Credential.objects.create(domain=domain, name="main", secret="sk-ant-api03-fake-0")
    stored_exchange(domain_id=domain.id)
    assert "Nothing needs you now" in admin_client.get("/admin/").content.decode()
