"""Limits and budgets in the admin: set in sentences, seen live, at a price that does not grow with the rows."""

import html
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts.ids import first_id_at, new_id
from accounts.models import Budget, ClientKey, Credential, Domain, Membership, RateLimit
from telemetry.limits import overview, reading
from telemetry.limits.memory import MemoryStore
from telemetry.limits.statefile import StateFile
from telemetry.models import Incident
from tests.telemetry.facts import stored_exchange
from tests.telemetry.limits.meters import want

pytestmark = pytest.mark.django_db
LIMITS, BUDGETS, KEYS, DOMAINS = (f"/admin/accounts/{name}/" for name in ("ratelimit", "budget", "clientkey", "domain"))
NUMBERS = ("requests", "input_tokens", "output_tokens")
EMPTY = {f"{name}_per_{span}": "" for name in NUMBERS for span in ("minute", "hour")} | {"concurrent_requests": ""}


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path) -> Iterator[Path]:
    settings.REDIS_URL, settings.NEXUS_DATA = "", tmp_path
    reading.count_nowhere()
    yield tmp_path
    reading.count_nowhere()


def used(folder: Path, row: RateLimit, times: int) -> None:
    """As the process that served last left it."""
    store = MemoryStore()
    (line, *_) = overview.of_limit(row).lines
    for _ in range(times):
        store.reserve_now(want(line.meter))
    file = StateFile(store, folder)
    file.open()
    file.close()


def limit_form(**changes: Any) -> dict[str, Any]:
    return {"domain": "", "client_key": "", "credential": "", "model_pattern": "", "is_active": "on"} | EMPTY | changes


def budget_form(**changes: Any) -> dict[str, Any]:
    money = {"amount_usd": "10", "period": "month", "max_request_usd": "", "thresholds": "50, 80, 100"}
    when = {"starts_at_0": "2026-11-01", "starts_at_1": "00:00:00"}
    return {"name": "Team", "is_active": "on", "domain": "", "client_key": "", "each": ""} | money | when | changes


def page(client: Client, url: str, **query: Any) -> str:
    answer = client.get(url, query)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


# Limits.


def test_a_limit_is_set_and_listed_on_one_line(admin_client: Client, domain: Domain, folder: Path) -> None:
    asked = limit_form(domain=str(domain.id), requests_per_minute="1200", concurrent_requests="3")
    assert admin_client.post(f"{LIMITS}add/", asked).status_code == 302
    used(folder, RateLimit.objects.get(), 300)
    shown = page(admin_client, LIMITS)
    assert "1,200 requests per minute, 3 concurrent requests" in shown
    assert "<b>25 %</b>" in shown
    assert "300 of 1,200 requests per minute" in shown


def test_what_makes_no_sense_is_refused_in_sentences(
    admin_client: Client, issued: tuple[ClientKey, str], domain: Domain
) -> None:
    both = limit_form(domain=str(domain.id), client_key=str(issued[0].id), requests_per_minute="0")
    said = html.unescape(admin_client.post(f"{LIMITS}add/", both).content.decode())
    assert "A limit is of one thing" in said
    assert "greater than or equal to 1" in said
    RateLimit.objects.create(domain=domain)
    said = html.unescape(admin_client.post(f"{LIMITS}add/", limit_form(domain=str(domain.id))).content.decode())
    assert "There is a limit of this scope for these models already: change that one." in said
    assert RateLimit.objects.count() == 1


def test_the_page_and_the_list_refresh_from_answers_of_their_own(
    admin_client: Client, domain: Domain, folder: Path
) -> None:
    row = RateLimit.objects.create(domain=domain, requests_per_minute=4)
    other = RateLimit.objects.create(requests_per_hour=4, is_active=False)
    shown = page(admin_client, f"{LIMITS}{row.id}/change/")
    (url,) = re.findall(r'data-live="([^"]+)"', shown)
    used(folder, row, 3)
    assert "75 %" in page(admin_client, url)
    (url, *_) = re.findall(r'data-live-list="([^"]+)"', page(admin_client, LIMITS))
    found = json.loads(admin_client.get(url, {"ids": f"{row.id},{other.id},{new_id()},nonsense"}).content)
    assert ("<b>75 %</b>" in found[str(row.id)], found[str(other.id)]) == (True, "—")
    assert set(found) == {str(row.id), str(other.id)}


def test_figures_are_for_those_who_may_look(client: Client, domain: Domain) -> None:
    row = RateLimit.objects.create(domain=domain, requests_per_minute=4)
    user = User.objects.create_user("grace", is_staff=True)
    client.force_login(user)
    for url in (f"{LIMITS}{row.id}/use/", f"{LIMITS}use/?ids={row.id}"):
        assert client.get(url).status_code == 404
    user.user_permissions.add(Permission.objects.get(codename="view_ratelimit"))
    Membership.objects.create(user=user, domain=domain)
    for url in (f"{LIMITS}{row.id}/use/", f"{LIMITS}use/?ids={row.id}"):
        assert client.get(url).status_code == 200


# Budgets.


def test_a_budget_shows_what_is_spent_and_by_how_much_it_can_be_overspent(admin_client: Client, domain: Domain) -> None:
    asked = budget_form(domain=str(domain.id), max_request_usd="0.5")
    assert admin_client.post(f"{BUDGETS}add/", asked).status_code == 302
    stored_exchange(domain_id=domain.id, cost=Decimal("2.5"), pricing="priced")
    shown = page(admin_client, BUDGETS)
    assert "<b>25 %</b>" in shown
    assert "$2.50 of $10.00" in shown
    assert "$0.50" in shown
    budget = Budget.objects.get()
    shown = page(admin_client, f"{BUDGETS}{budget.id}/change/")
    assert "At most $0.50 over: no request that may cost more is let in." in shown
    assert "25 %" in shown
    (link,) = re.findall(r'href="(/admin/telemetry/exchangerow/\?[^"]+)"', shown)
    assert "1 exchange" in " ".join(page(admin_client, link).split())


def test_the_exchanges_behind_a_key_s_budget_are_that_key_s(
    admin_client: Client, issued: tuple[ClientKey, str]
) -> None:
    key, _ = issued
    budget = Budget.objects.create(name="Own", client_key=key, amount_usd=Decimal(1))
    stored_exchange(domain_id=key.domain_id, client_key_id=key.id)
    stored_exchange(domain_id=key.domain_id)
    shown = page(admin_client, f"{BUDGETS}{budget.id}/change/")
    (link,) = re.findall(r'href="(/admin/telemetry/exchangerow/\?[^"]+)"', shown)
    assert "1 exchange" in " ".join(page(admin_client, link).split())


def test_a_budget_refuses_what_makes_no_sense_in_sentences(
    admin_client: Client, issued: tuple[ClientKey, str], domain: Domain
) -> None:
    both = budget_form(domain=str(domain.id), client_key=str(issued[0].id), thresholds="half")
    said = html.unescape(admin_client.post(f"{BUDGETS}add/", both).content.decode())
    assert "Choose a domain or a client key: a key belongs to one domain anyway." in said
    assert "Give whole percentages with commas between them: 50, 80, 100." in said
    assert not Budget.objects.exists()


def test_a_budget_s_page_tells_of_earlier_periods_and_what_people_were_told(
    admin_client: Client, domain: Domain
) -> None:
    budget = Budget.objects.create(name="Daily", domain=domain, amount_usd=Decimal(10), period="day")
    yesterday = timezone.now() - timedelta(days=1)
    row_id = UUID(int=first_id_at(yesterday).int | new_id().int & 0xFFFFFFFF)
    stored_exchange(id=row_id, started_at=yesterday, domain_id=domain.id, cost=Decimal(4), pricing="priced")
    now = timezone.now()
    facts = dict.fromkeys(("opened_at", "updated_at", "seen_at", "evaluated_at", "told_at"), now)
    about = f"{budget.id}::20261123:50"
    Incident.objects.create(rule="budget_threshold", object=about, sentence="Daily has passed 50 %.", **facts)
    Incident.objects.create(rule="budget_threshold", object=f"{new_id()}", sentence="Another one.", **facts)
    shown = page(admin_client, f"{BUDGETS}{budget.id}/change/")
    assert f"from {yesterday:%Y-%m-%d}: $4.00, 40 % of the amount" in shown
    assert "Daily has passed 50 %." in shown
    assert "Another one." not in shown


# What they are about.


def test_a_key_s_page_shows_its_limits_its_rules_and_where_to_set_them(
    admin_client: Client, issued: tuple[ClientKey, str], domain: Domain
) -> None:
    key, _ = issued
    row = RateLimit.objects.create(client_key=key, requests_per_minute=4)
    Domain.objects.filter(id=domain.id).update(allowed_models="claude-haiku-*", max_wait_seconds=20)
    shown = page(admin_client, f"{KEYS}{key.id}/change/")
    for said in (
        "Its domain allows only claude-haiku-*.",
        "a request waits up to 20 s (its domain's rule); weight 1.",
        "replaced by the limit of client key Ada's laptop",
        "<code>DOMAIN_RATE_LIMIT_MAX_REQUESTS</code>",
        f"/admin/accounts/ratelimit/{row.id}/change/",
        f"/admin/accounts/budget/add/?client_key={key.id}",
    ):
        assert said in shown
    assert page(admin_client, f"/admin/accounts/budget/add/?client_key={key.id}").count("Ada's laptop") >= 1


def test_domains_and_credentials_show_theirs(admin_client: Client, domain: Domain, credential: Credential) -> None:
    RateLimit.objects.create(credential=credential, concurrent_requests=4)
    for url in (f"{DOMAINS}{domain.id}/change/", f"/admin/accounts/credential/{credential.id}/change/"):
        shown = page(admin_client, url)
        assert "credential main" in shown
        assert "concurrent requests" in shown
        assert "Nobody serves now" in shown


def test_the_forms_group_the_new_fields(admin_client: Client, issued: tuple[ClientKey, str], domain: Domain) -> None:
    shown = page(admin_client, f"{KEYS}{issued[0].id}/change/")
    names = ("allowed_models", "unpriced_models", "max_wait_seconds", "weight", "is_background")
    assert [shown.index(f'name="{name}"') for name in names] == sorted(shown.index(f'name="{name}"') for name in names)
    asked = {"name": "x", "expires_at_0": "", "expires_at_1": "", "weight": "3", "allowed_models": "claude opus"}
    said = html.unescape(admin_client.post(f"{KEYS}{issued[0].id}/change/", asked).content.decode())
    assert "“claude opus” holds “ ”, which no model's name does." in said


@pytest.mark.parametrize("url", [KEYS, DOMAINS, LIMITS])
def test_a_list_costs_the_same_however_long_it_is(admin_client: Client, domain: Domain, url: str) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            page(admin_client, url)
        return len(captured)

    def more(number: int) -> None:
        for _ in range(number):
            one = Domain.objects.create(host=f"{new_id()}.example.com")
            key, _ = ClientKey.issue(one, "key")
            RateLimit.objects.create(client_key=key, requests_per_minute=4)
            RateLimit.objects.create(domain=one, requests_per_minute=4)
            Budget.objects.create(name="Own", client_key=key, amount_usd=Decimal(1))

    more(2)
    few = queries()
    more(30)
    assert queries() == few
