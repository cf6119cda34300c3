"""Every endpoint of the query API with every parameter, asked by members of one domain for what is another's: it
answers as it does to what does not exist, and tells nothing."""

import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.test import AsyncClient, Client
from pytest_django import Settings

from accounts.access import EVERYTHING, Viewer
from accounts.ids import new_id
from accounts.models import ClientKey, Credential, Domain
from dashboard.api import api
from dashboard.scope import called
from telemetry.models import ExchangeRow
from telemetry.money.rollups import roll_up
from tests.dashboard.asking import LIST, get, ids
from tests.telemetry.admin.tenants import NOBODYS, OURS, ZEBRA, Tenant, browser, nobody, person, tenant

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]
PATHS = api.get_openapi_schema()["paths"]
FOR_ALL = ("/api/ledger", "/api/system")
"""Of the whole installation."""
NAMELESS = (*FOR_ALL, "/api/limits/refusals", "/api/stats", "/api/stats/series")
GROUPS = ("viewer", "operator")


@pytest.fixture(autouse=True)
def alone(settings: Settings, tmp_path: Path) -> None:
    settings.REDIS_URL, settings.NEXUS_DATA, settings.DASHBOARD_RATE = "", tmp_path, ""


@pytest.fixture
def ours(db: None) -> Tenant:
    made = tenant(OURS)
    roll_up(at_once=True)
    return made


@pytest.fixture
def theirs(ours: Tenant) -> Tenant:
    made = tenant(ZEBRA)
    nobody()
    roll_up(at_once=True)
    return made


def wanted(theirs: Tenant) -> list[tuple[str, str]]:
    """What one may know of another domain, and the same of none: ids, names, and what is in the record."""
    rows = [theirs.one(model) for model in (Domain, ClientKey, Credential, ExchangeRow)]
    found = [(str(row.pk), str(new_id())) for row in rows]
    ends = (".example.com", " key", " credential", "-model", "-session")
    return [*found, ("req_zebra", "req_quagga"), *((f"{ZEBRA}{end}", f"quagga{end}") for end in ends)]


async def asked(client: AsyncClient, path: str, query: dict[str, str], *names: str) -> tuple[int, str]:
    answer: Any = await client.get(path, query)
    parts = [part async for part in answer.streaming_content] if answer.streaming else [answer.content]
    text = b"".join(parts).decode()
    for name in names:
        text = text.replace(name, "NAME")
    return answer.status_code, re.sub(r'"(read_at|since|until|at|frees_at)":"[^"]*"', "", text)


@pytest.mark.anyio
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("path", PATHS)
async def test_no_parameter_reaches_another_domain(path: str, group: str, ours: Tenant, theirs: Tenant) -> None:
    client = AsyncClient()
    await client.aforce_login(await User.objects.aget(username=f"{group}-1"))
    parameters = [each for each in PATHS[path]["get"].get("parameters", ()) if each["name"] != "cursor"]
    for one, other in wanted(theirs):
        for each in parameters:
            is_path = each["in"] == "path"
            there, nowhere = [
                await asked(
                    client, path.replace("{name}", name) if is_path else path, {} if is_path else query, one, other
                )
                for name, query in ((one, {each["name"]: one}), (other, {each["name"]: other}))
            ]
            assert there == nowhere, each["name"]
            assert not re.search(f"{ZEBRA}|{NOBODYS}", there[1]), each["name"]
    plain = await asked(client, path.replace("{name}", str(ours.one(ExchangeRow).pk)), {})
    assert plain[0] == (403 if path in FOR_ALL else 200)
    assert not re.search(f"{ZEBRA}|{NOBODYS}", plain[1])
    for row in (theirs.one(Domain), theirs.one(ClientKey), theirs.one(Credential)):
        assert str(row.pk) not in plain[1]


@pytest.fixture(autouse=True)
def members(ours: Tenant) -> dict[str, Client]:
    return {group: browser(person(group, ours.domain)) for group in GROUPS}


@pytest.mark.parametrize("path", PATHS)
def test_without_a_membership_it_is_empty(path: str, ours: Tenant, theirs: Tenant) -> None:
    if "export" in path:
        return  # as the list of requests, in a file
    client = browser(person("operator"))
    answer = client.get(path.replace("{name}", str(ours.one(ExchangeRow).pk)))
    assert answer.status_code == (404 if "{name}" in path else 403 if path in FOR_ALL else 200)
    assert not re.search(f"{OURS}|{ZEBRA}|{NOBODYS}", answer.content.decode())


@pytest.mark.parametrize("path", PATHS)
def test_who_sees_all_domains_sees_all(path: str, ours: Tenant, theirs: Tenant) -> None:
    if "export" in path:
        return
    client = browser(person("admin"))
    for each in (ours, theirs):
        text = get(client, path.replace("{name}", str(each.one(ExchangeRow).pk)))
        assert each.word in str(text) or path in NAMELESS


@pytest.mark.parametrize("group", GROUPS)
def test_ones_own_is_found_by_id_and_by_name(group: str, members: dict[str, Client], ours: Tenant) -> None:
    client, own = members[group], [str(ours.one(ExchangeRow).pk)]
    for name in ("key", "credential"):
        row = ours.one(ClientKey if name == "key" else Credential)
        assert ids(client, **{name: str(row.pk)}) == own
        assert ids(client, **{name: row.name}) == own
    assert ids(client, domain="walrus.example.com") == own


def test_an_id_is_no_way_around_the_register(ours: Tenant, theirs: Tenant) -> None:
    viewer = Viewer(frozenset({ours.one(Domain).pk}), may_see_bodies=True)
    for model in (ClientKey, Credential):
        assert called(model, viewer, str(theirs.one(model).pk)) == []
        assert called(model, viewer, str(ours.one(model).pk)) == [ours.one(model).pk]
        gone = str(new_id())
        assert called(model, viewer, gone) == []
        assert called(model, EVERYTHING, gone) == [UUID(gone)]


def test_what_a_shared_credential_did_for_ones_own_is_found_by_it(
    members: dict[str, Client], ours: Tenant, theirs: Tenant
) -> None:
    row: Credential = theirs.one(Credential)
    ExchangeRow.objects.filter(domain=ours.domain).update(credential=row)
    client, own = members["viewer"], [str(ours.one(ExchangeRow).pk)]
    assert ids(client, credential=row.name) == ids(client, credential=str(row.pk)) == []
    row.shared_with.add(ours.one(Domain))
    assert ids(client, credential=row.name) == ids(client, credential=str(row.pk)) == own


def test_a_shared_credential_says_nothing_of_whose_it_is(
    members: dict[str, Client], ours: Tenant, theirs: Tenant
) -> None:
    row, other = theirs.rows[Credential]
    row.shared_with.add(ours.one(Domain))
    Credential.objects.filter(pk=row.pk).update(name="lent", replaces=other)
    (shown,) = (each for each in get(members["viewer"], "/api/credentials")["credentials"] if each["name"] == "lent")
    assert not re.search(ZEBRA, str(shown))
    assert (shown["domain"], shown["owner"], shown["replaces"]) == (None, None, None)
    (shown,) = get(browser(person("admin")), "/api/credentials", credential="lent")["credentials"]
    assert (shown["domain"], shown["owner"]) == ("zebra.example.com", "zebra owner")
    assert shown["replaces"] == "zebra renewed"


@pytest.mark.parametrize("group", GROUPS)
def test_bodies_take_their_permission(group: str, members: dict[str, Client], ours: Tenant) -> None:
    client, url = members[group], f"{LIST}/{ours.one(ExchangeRow).pk}"
    assert not re.search("said|walrus asks", client.get(url).content.decode() + client.get(LIST).content.decode())
    assert client.get(LIST, {"text": "walrus"}).status_code == 403
    User.objects.get(username=f"{group}-1").user_permissions.add(Permission.objects.get(codename="view_bodyrow"))
    assert re.search("said", client.get(url).content.decode())
    assert "walrus asks" in client.get(LIST).content.decode()
    assert ids(client, text="walrus") == [str(ours.one(ExchangeRow).pk)]
