"""Credentials over the query API: how each stands, and nothing of what a viewer may not see."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.models import Credential, Domain
from telemetry.credentials import marking
from tests.conftest import FAKE_API_KEY
from tests.dashboard.asking import bare_exchange, get, refusal
from tests.telemetry.credentials.standings import Known

pytestmark = pytest.mark.django_db(transaction=True)
CREDENTIALS = "/api/credentials"


@pytest.fixture(autouse=True)
def known(settings: Settings, tmp_path: Path) -> Known:
    settings.REDIS_URL, settings.NEXUS_DATA = "", tmp_path
    return Known(tmp_path)


@pytest.fixture
def theirs(other_domain: Domain) -> Credential:
    return Credential.objects.create(domain=other_domain, name="theirs", secret="sk-ant-api03-fake-of-theirs-01")


def shown(client: Client, **query: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in get(client, CREDENTIALS, **query)["credentials"]}


def test_it_says_how_each_stands(script: Client, credential: Credential, known: Known) -> None:
    known.limit(credential, "haiku", requests=0.75)
    known.cool(credential, "opus")
    marking.note(credential.id, check_status=200, models_seen=["claude-one"], organization_id="org-1")
    row = shown(script)["main"]
    assert (row["status"], row["reason"]) == ("cooling", "The API has answered 429 for opus.")
    assert row["check"] is None  # it says no time
    assert [(room["family"], room["window"], room["left"]) for room in row["limits"]] == [("haiku", "requests", 0.75)]
    assert [each["family"] for each in row["cooling"]] == ["opus"]
    assert (row["circuit"], row["domain"], row["replaces"], row["traffic_percent"]) == (
        "closed",
        "claude.example.com",
        None,
        None,
    )
    marking.mark_invalid(credential.id, "The API does not take it (401).")
    row = shown(script)["main"]
    assert (row["status"], row["reason"]) == ("invalid", "The API does not take it (401).")
    assert row["since"] is not None


def test_no_secret_is_in_it(script: Client, credential: Credential) -> None:
    text = json.dumps(get(script, CREDENTIALS))
    assert FAKE_API_KEY not in text
    assert FAKE_API_KEY[-8:] not in text
    assert "secret" not in text


def test_a_member_sees_what_the_domain_uses(
    script: Client, console: Client, credential: Credential, theirs: Credential, domain: Domain, other_domain: Domain
) -> None:
    assert set(shown(script)) == {"main", "theirs"}
    assert set(shown(console)) == {"main"}
    assert shown(console, credential="theirs") == {}
    assert shown(console, domain=other_domain.host) == {}
    theirs.shared_with.add(domain, Domain.objects.create(host="third.example.com"))
    row = shown(console)["theirs"]
    assert (row["domain"], row["shared_with"]) == (None, [domain.host])
    assert shown(script)["theirs"]["shared_with"] == [domain.host, "third.example.com"]


def test_who_uses_it_is_told_of_ones_own_domains(
    script: Client, console: Client, credential: Credential, domain: Domain, other_domain: Domain
) -> None:
    credential.shared_with.add(other_domain)
    for where in (domain, other_domain, other_domain):
        bare_exchange(credential_id=credential.id, domain_id=where.id)
    theirs = {"domain": other_domain.host, "requests": 2, "is_estimate": False}
    mine = {"domain": domain.host, "requests": 1, "is_estimate": False}
    assert shown(script)["main"]["used_by"] == [theirs, mine]
    assert shown(console)["main"]["used_by"] == [mine]


def test_one_asks_by_domain_id_and_name(
    script: Client, credential: Credential, theirs: Credential, other_domain: Domain
) -> None:
    assert set(shown(script, credential=str(credential.id))) == {"main"}
    assert set(shown(script, credential="theirs")) == {"theirs"}
    assert set(shown(script, domain="Claude.example.com")) == {"main"}
    credential.shared_with.add(other_domain)
    assert set(shown(script, domain=other_domain.host)) == {"main", "theirs"}
    assert shown(script, domain="nowhere.example.com") == {}
    assert "colour" in refusal(script, CREDENTIALS, {"colour": "red"})


def test_strangers_are_refused(client: Client) -> None:
    assert client.get(CREDENTIALS).status_code in (401, 403)


def test_it_costs_the_same_for_one_and_for_many(script: Client, credential: Credential, domain: Domain) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            get(script, CREDENTIALS)
        return len(asked)

    before = queries()
    for n in range(5):
        Credential.objects.create(domain=domain, name=f"{n}", secret="y" * 20, replaces=credential)
    assert queries() == before
