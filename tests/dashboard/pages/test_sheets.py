"""The pages of curves and tables: figures, links to the requests behind them, CSV, and what a viewer may see."""

import csv
import io
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.access import EVERYTHING
from accounts.ids import new_id
from accounts.models import Budget, ClientKey, Credential, Domain
from dashboard import figures
from dashboard.filters import By, Figures
from telemetry.money import rollups
from telemetry.record.exchange import Outcome
from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db(transaction=True)
TABLES = {
    "usage": ["by-model", "by-key", "by-domain", "by-credential", "by-kind"],
    "latency": ["outcomes", "statuses", "refusals", "by-model", "by-key", "by-credential"],
    "credentials": ["credentials"],
    "keys": ["keys", "limits", "budgets"],
    "system": ["processes", "ledger", "tasks"],
}
FAILED: dict[str, Any] = {"outcome": Outcome.API_ERROR, "status": 529, "error_type": "overloaded_error"}
QUERIES_MAX = {"usage": 24, "latency": 22, "credentials": 20, "keys": 34, "system": 14}


@pytest.fixture
def traffic(issued: tuple[ClientKey, str], credential: Credential, other_domain: Domain) -> None:
    """Ten requests of ours and one that failed, and one of somebody else's."""
    key = issued[0]
    ours: dict[str, Any] = {"domain_id": key.domain_id, "client_key_id": key.id, "credential_id": credential.id}
    for number in range(10):
        if not number:
            stored_exchange(**ours, **FAILED)
        stored_exchange(**ours, cost=Decimal("0.25"), pricing="priced")
    theirs, _ = ClientKey.issue(other_domain, "their key")
    stored_exchange(
        domain_id=other_domain.id, client_key_id=theirs.id, model="their-model", answered_model="their-model"
    )
    Credential.objects.create(domain=other_domain, name="their credential", secret="sk-ant-api03-fake-0")
    Budget.objects.create(name="their budget", domain=other_domain, amount_usd=5, period="month")
    Budget.objects.create(name="our budget", domain=key.domain, amount_usd=5, period="month")
    rollups.roll_up(at_once=True)


def text(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.content
    return answer.content.decode()


def table(client: Client, page: str, name: str) -> list[dict[str, str]]:
    answer = client.get(f"/dashboard/{page}?csv={name}")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert f"nexus-{name}-" in answer.headers["Content-Disposition"]
    return list(csv.DictReader(io.StringIO(answer.content.decode())))


@pytest.mark.usefixtures("traffic")
def test_usage_is_what_was_used(admin: Client, domain: Domain) -> None:
    (key,) = [row for row in table(admin, "usage", "by-key") if row["Key"] == "Ada's laptop"]
    assert (key["Requests"], Decimal(key["Cost"]), key["Output"]) == ("11", Decimal("2.5"), "220")
    page = text(admin, "/dashboard/usage")
    assert "$2.50" in page
    assert "key=" in page.split("Ada&#x27;s laptop</a>")[0].rsplit("<a href=", 1)[1]


@pytest.mark.usefixtures("traffic")
def test_errors_lead_to_their_requests(admin: Client) -> None:
    rows = {row["How it ended"]: row for row in table(admin, "latency", "outcomes")}
    assert (rows["API error"]["Requests"], rows["Completed"]["Requests"]) == ("1", "11")
    href = text(admin, "/dashboard/latency").split(">API error</a>")[0].rsplit('href="', 1)[1].split('"')[0]
    listed = text(admin, href.replace("&amp;", "&"))
    assert listed.count("overloaded_error") == 1
    assert listed.count("data-id=") == 1


@pytest.mark.usefixtures("traffic")
def test_keys_and_budgets_are_shown(admin: Client) -> None:
    (key,) = [row for row in table(admin, "keys", "keys") if row["Client key"] == "Ada's laptop"]
    assert (key["Domain"], key["State"], key["Requests"]) == ("claude.example.com", "active", "11")
    assert {row["Budget"] for row in table(admin, "keys", "budgets")} == {"our budget", "their budget"}
    assert any(row["Of"].endswith("claude.example.com") for row in table(admin, "keys", "limits"))


@pytest.mark.usefixtures("traffic")
@pytest.mark.parametrize("page", [name for name in TABLES if name != "system"])
def test_nothing_of_anothers_is_seen(ada: Client, page: str) -> None:
    shown = text(ada, f"/dashboard/{page}")
    for name in TABLES[page]:
        shown += ada.get(f"/dashboard/{page}?csv={name}").content.decode()
    for theirs in ("their key", "their-model", "their credential", "their budget", "other.example.com"):
        assert theirs not in shown
    mine = {"usage": "Ada", "latency": "Ada", "credentials": "main", "keys": "our budget"}
    assert mine[page] in shown


def test_the_system_is_for_who_sees_all(ada: Client) -> None:
    assert "you see some" in text(ada, "/dashboard/system", 403)
    assert "/dashboard/system" not in text(ada, "/dashboard/usage")


@pytest.mark.usefixtures("traffic")
@pytest.mark.parametrize("page", TABLES)
def test_each_page_costs_few_queries_and_each_table_is_a_file(
    admin: Client, page: str, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_max_num_queries(QUERIES_MAX[page]):
        text(admin, f"/dashboard/{page}?domain=&range=7d" if page != "system" else "/dashboard/system")
    for name in TABLES[page]:
        assert admin.get(f"/dashboard/{page}?csv={name}").status_code == 200
    assert "There is no table" in text(admin, f"/dashboard/{page}?csv=other", 400)


def test_no_cell_of_a_file_is_a_formula(admin: Client, domain: Domain) -> None:
    for start in ("=1+1", "+1", "-1", "@x", "\t=1"):
        ClientKey.issue(domain, start)
    for row in table(admin, "keys", "keys"):
        assert row["Client key"].startswith("'")


def test_a_part_is_a_part(admin: Client) -> None:
    part = admin.get("/dashboard/usage", headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part
    assert "By model" in part


def test_a_part_is_made_once_for_all_who_see_the_same(
    admin: Client, ada: Client, domain: Domain, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    part, other = {"HX-Request": "true"}, User.objects.create_superuser("other")
    path = f"/dashboard/usage?range=6h&mark={new_id()}"
    first = admin.get(path, headers=part).content
    second = Client()
    second.force_login(other)
    with django_assert_max_num_queries(6):
        assert second.get(path, headers=part).content == first
    stored_exchange(domain_id=None, model="nobody-else-sees-this", answered_model="")
    assert b"nobody-else" not in ada.get(path, headers=part).content
    assert admin.get(path, headers=part).headers["Cache-Control"] == "no-store"


@pytest.mark.usefixtures("traffic")
@pytest.mark.parametrize(("limit", "groups_max"), [(1, 5000), (2, 5000), (100, 5000), (1, 0)])
def test_one_look_finds_what_a_look_for_each_finds(
    limit: int, groups_max: int, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    monkeypatch.setattr(figures, "GROUPS_MAX", groups_max)
    asked = Figures(domain=None, key=None, credential=None, model=None, kind=None, since=None, until=None)
    hours = figures.hours_of(asked)
    one_by_one = {by: figures.breakdown(EVERYTHING, asked, hours, by, limit) for by in By}
    assert one_by_one[By.KEY][0][0].figures.requests == 11
    if groups_max:
        with django_assert_num_queries(1 + len(figures.NAMED_BY)):
            assert figures.breakdowns(EVERYTHING, asked, hours, list(By), limit, times=True) == one_by_one
    else:
        assert figures.breakdowns(EVERYTHING, asked, hours, list(By), limit, times=True) == one_by_one
