"""Every page of the dashboard, asked by members of one domain for what is another's: it answers as it does to what does
not exist, and tells nothing."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts.ids import new_id
from accounts.models import ClientKey, Credential, Domain
from dashboard.urls import pages
from telemetry.models import ExchangeRow
from telemetry.money.rollups import roll_up
from tests.telemetry.admin.tenants import NOBODYS, OURS, ZEBRA, Tenant, browser, nobody, person, tenant

pytestmark = [pytest.mark.django_db, pytest.mark.once]
NAMES = [str(each.name) for each in pages if each.name not in ("sse", "login", "logout")]
FOR_ALL = ("system",)
NAMELESS = ("system", "start")
PARAMETERS = ("domain", "key", "credential", "model", "session", "q")
each_name = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(autouse=True)
def alone(settings: Settings, tmp_path: Path) -> None:
    settings.REDIS_URL, settings.NEXUS_DATA, settings.DASHBOARD_RATE = "", tmp_path, ""


@pytest.fixture
def ours(db: None) -> Tenant:
    return tenant(OURS)


@pytest.fixture
def theirs(ours: Tenant) -> Tenant:
    made = tenant(ZEBRA)
    nobody()
    roll_up(at_once=True)
    return made


def address(name: str, exchange: str) -> str:
    return reverse(f"dashboard:{name}", args=[exchange] if name == "request" else [])


def asked(client: Client, url: str, query: dict[str, str], *names: str) -> tuple[int, str]:
    answer: Any = client.get(url, query)
    text = (b"".join(answer.streaming_content) if answer.streaming else answer.content).decode()
    for each in names:
        text = (
            text.replace(each, "NAME").replace(each.replace(" ", "+"), "NAME").replace(each.replace(" ", "%20"), "NAME")
        )
    return answer.status_code, re.sub(r"\d\d:\d\d:\d\d(\.\d+)?|\b[A-Za-z0-9]{64}\b", "NOW", text)


@each_name
@pytest.mark.parametrize("group", ["viewer", "operator"])
def test_no_page_reaches_another_domain(name: str, group: str, ours: Tenant, theirs: Tenant) -> None:
    client, own = browser(person(group, ours.domain)), str(ours.one(ExchangeRow).pk)
    wanted = [(str(theirs.one(model).pk), str(new_id())) for model in (Domain, ClientKey, Credential, ExchangeRow)]
    ends = (".example.com", " key", " credential", "-model", "-session")
    for one, other in (*wanted, ("req_zebra", "req_quagga"), *((f"{ZEBRA}{end}", f"quagga{end}") for end in ends)):
        for parameter in PARAMETERS:
            there, nowhere = (
                asked(client, address(name, each), {parameter: each}, one, other) for each in (one, other)
            )
            assert there == nowhere, parameter
            assert not re.search(f"{ZEBRA}|{NOBODYS}", there[1]), parameter
    status, text = asked(client, address(name, own), {})
    assert status == (403 if name in FOR_ALL else 200)
    assert not re.search(f"{ZEBRA}|{NOBODYS}", text)
    assert not [row for row in wanted[1:] if row[0] in text]
    assert not re.search("walrus asks|&quot;said&quot;", text)


@each_name
def test_who_sees_all_domains_sees_all(name: str, ours: Tenant, theirs: Tenant) -> None:
    client = browser(person("admin"))
    for each in (ours, theirs):
        status, text = asked(client, address(name, str(each.one(ExchangeRow).pk)), {})
        assert status == 200
        assert each.word in text or name in NAMELESS


@each_name
def test_without_a_membership_it_is_empty(name: str, ours: Tenant, theirs: Tenant) -> None:
    status, text = asked(browser(person("operator")), address(name, str(ours.one(ExchangeRow).pk)), {})
    assert status == (404 if name == "request" else 403 if name in FOR_ALL else 200)
    assert not re.search(f"{OURS}|{ZEBRA}|{NOBODYS}", text)
