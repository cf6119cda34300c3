"""Limits and budgets over the query API: what is used of them, and nothing of what a viewer may not see."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.ids import first_id_at, new_id
from accounts.models import Budget, ClientKey, Credential, Domain, RateLimit
from telemetry.limits import overview, reading
from telemetry.limits.memory import MemoryStore
from telemetry.limits.statefile import StateFile
from telemetry.record.exchange import Outcome
from tests.dashboard.asking import bare_exchange, get, refusal
from tests.telemetry.facts import stored_exchange
from tests.telemetry.limits.meters import want

pytestmark = pytest.mark.django_db(transaction=True)
LIMITS, BUDGETS, REFUSALS = "/api/limits", "/api/budgets", "/api/limits/refusals"


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path) -> Iterator[Path]:
    settings.REDIS_URL, settings.NEXUS_DATA = "", tmp_path
    reading.count_nowhere()
    yield tmp_path
    reading.count_nowhere()


@pytest.fixture
def rows(issued: tuple[ClientKey, str], other_domain: Domain, credential: Credential) -> dict[str, RateLimit]:
    """One of each scope, and of a stranger's."""
    theirs, _ = ClientKey.issue(other_domain, "theirs")
    their_credential = Credential.objects.create(
        domain=other_domain, name="theirs", secret="sk-ant-api03-fake-of-theirs-01"
    )
    of: dict[str, dict[str, Any]] = {
        "key": {"client_key": issued[0]},
        "domain": {"domain": issued[0].domain},
        "credential": {"credential": credential},
        "all": {},
        "their key": {"client_key": theirs},
        "their domain": {"domain": other_domain},
        "their credential": {"credential": their_credential},
    }
    return {name: RateLimit.objects.create(requests_per_minute=4, **whose) for name, whose in of.items()}


def shown(client: Client, rows: dict[str, RateLimit], **query: str) -> set[str]:
    """Whose limits; those of the environment are told by their variables."""
    ids = {str(row.id): name for name, row in rows.items()}
    return {ids.get(str(line["set_by_id"]), line["set_by"]) for line in get(client, LIMITS, **query)["limits"]}


DEFAULTS = {f"{start}RATE_LIMIT_MAX_{what}" for start in ("", "DOMAIN_") for what in ("REQUESTS", "TOKENS")}


def test_who_sees_all_sees_all_and_a_member_what_is_the_domain_s(
    script: Client, console: Client, rows: dict[str, RateLimit]
) -> None:
    assert shown(script, rows) == {*rows, *DEFAULTS}
    assert shown(console, rows) == {"key", "domain", "credential", *DEFAULTS}


def test_it_is_asked_by_domain_key_and_credential(script: Client, rows: dict[str, RateLimit]) -> None:
    ours = {"key", "domain", "credential", *DEFAULTS}
    assert shown(script, rows, domain="claude.example.com") == {*ours, "all"}
    assert shown(script, rows, domain="nobody.example.com") == set()
    assert shown(script, rows, key="Ada's laptop") == {*ours, "all"}
    assert shown(script, rows, credential="main") == {"credential"}
    assert shown(script, rows, key="nobody") == set()


@pytest.mark.parametrize("by", ["domain", "key", "credential"])
def test_a_member_asks_in_vain_for_a_stranger_s(console: Client, rows: dict[str, RateLimit], by: str) -> None:
    names = {"domain": ["other.example.com"], "key": ["theirs"], "credential": ["theirs"]}
    names["key"].append(str(rows["their key"].client_key_id))
    names["credential"].append(str(rows["their credential"].credential_id))
    for name in names[by]:
        assert shown(console, rows, **{by: name}) == set()


def test_a_line_says_how_full_it_is_where_it_is_set_and_why_it_does_not_count(
    script: Client, rows: dict[str, RateLimit], folder: Path
) -> None:
    store, (line,) = MemoryStore(), overview.of_limit(rows["key"]).lines
    for _ in range(4):
        store.reserve_now(want(line.meter))
    file = StateFile(store, folder)
    file.open()
    file.close()
    answer = get(script, LIMITS, key="Ada's laptop")
    assert answer["figures"]["source"] == "left"
    (full,) = [line for line in answer["limits"] if line["set_by_id"] == str(rows["key"].id)]
    assert (full["name"], full["used"], full["limit"], full["share"]) == ("key requests per minute", 4, 4, 1.0)
    assert 0 < (datetime.fromisoformat(full["frees_at"]) - datetime.now(UTC)).total_seconds() <= 61
    replaced = [line["why_not"] for line in answer["limits"] if line["set_by"] == "RATE_LIMIT_MAX_TOKENS"]
    assert replaced == ["replaced by the limit of client key Ada's laptop"]


def test_a_list_costs_the_same_however_many_keys_there_are(script: Client, domain: Domain) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            get(script, LIMITS)
        return len(captured)

    ClientKey.issue(domain, "one")
    few = queries()
    for number in range(30):
        ClientKey.issue(domain, str(number))
    assert queries() == few


def test_budgets_are_told_with_what_is_spent_and_a_member_sees_the_domain_s(
    script: Client, console: Client, domain: Domain, other_domain: Domain
) -> None:
    for name, owner in (("Ours", domain), ("Theirs", other_domain), ("All", None)):
        Budget.objects.create(name=name, domain=owner, amount_usd=Decimal(10), max_request_usd=Decimal("0.5"))
    stored_exchange(domain_id=domain.id, cost=Decimal("2.5"), pricing="priced")
    told = {budget["name"]: budget for budget in get(script, BUDGETS)["budgets"]}
    assert told.keys() == {"Ours", "Theirs", "All"}
    assert [(line["used"], line["share"]) for line in told["Ours"]["use"]] == [("2.5000000000", 0.25)]
    assert (told["Ours"]["amount"], told["Ours"]["overshoot"]) == ("10.0000", "0.5000")
    assert [budget["name"] for budget in get(console, BUDGETS)["budgets"]] == ["Ours"]
    assert get(console, BUDGETS, domain="other.example.com")["budgets"] == []
    assert [budget["name"] for budget in get(script, BUDGETS, domain="other.example.com")["budgets"]] == ["Theirs"]


def refused(by: str, domain: Domain, hours_ago: int = 0, **facts: Any) -> None:
    at = datetime.now(UTC) - timedelta(hours=hours_ago)
    row_id = type(new_id())(int=first_id_at(at).int | new_id().int & 0xFFFFFFFF)
    bare_exchange(
        id=row_id, started_at=at, domain_id=domain.id, outcome=Outcome.REFUSED, status=429, refused_by=by, **facts
    )


def test_refusals_are_counted_by_limit_and_over_time(
    script: Client, console: Client, domain: Domain, other_domain: Domain, issued: tuple[ClientKey, str]
) -> None:
    refused("key requests per minute", domain, client_key_id=issued[0].id)
    refused("key requests per minute", domain, hours_ago=3)
    refused("budget Team", domain)
    refused("budget Theirs", other_domain)
    refused("budget Team", domain, hours_ago=30)
    refused("", domain)
    answer = get(script, REFUSALS)
    assert [(each["name"], each["count"]) for each in answer["refusals"]] == [
        ("key requests per minute", 2),
        ("budget Team", 1),
        ("budget Theirs", 1),
    ]
    assert [each["count"] for each in answer["points"]] == [1, 1, 1, 1]
    own = get(console, REFUSALS)
    assert {each["name"] for each in own["refusals"]} == {"key requests per minute", "budget Team"}
    assert len(get(script, REFUSALS, key="Ada's laptop")["refusals"]) == 1
    assert "step" in refusal(script, REFUSALS, {"step": "year"})


def test_refusals_are_found_by_an_index(script: Client, domain: Domain) -> None:
    with CaptureQueriesContext(connection) as captured:
        get(script, REFUSALS)
    (query, *_) = [each["sql"] for each in captured if "GROUP BY" in each["sql"]]
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {query}")
        else:
            cursor.execute("SET enable_seqscan = off")  # the table is too small to be worth an index
            cursor.execute(f"EXPLAIN {query}")
        plan = " ".join(str(row) for row in cursor.fetchall())
        if connection.vendor == "postgresql":
            cursor.execute("RESET enable_seqscan")
    assert "exchange_outcome" in plan
