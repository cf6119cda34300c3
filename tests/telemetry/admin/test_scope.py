"""Every page, filter, choice, action and own URL of the admin as seen by those who are members of one domain: what is of
another domain answers like what does not exist, and what is of one's own is there."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group, User
from django.core import serializers
from django.db.models import Model
from django.test import Client
from pytest_django import Settings

from accounts.ids import new_id
from accounts.models import Budget, ClientKey, Credential, Domain, RateLimit
from accounts.scoping import Confined
from telemetry.models import (
    BatchRow,
    Delivery,
    ExchangeRow,
    Incident,
    PriceRow,
    SlackSettings,
    Webhook,
)
from tests.telemetry.admin.tenants import NOBODYS, OURS, ZEBRA, Tenant, browser, nobody, person, registered, tenant

pytestmark = pytest.mark.django_db
EVERYBODYS = (PriceRow,)
LOOKED_AT = (Domain, ClientKey, RateLimit, Budget, ExchangeRow, BatchRow, Incident, Delivery)
"""By a viewer, of the own domain."""
SET_UP = (ClientKey, RateLimit, Budget, Credential, SlackSettings, Webhook)
"""By an operator besides."""
GROUPS = ("viewer", "operator")
PAGES = [pytest.param(model, page, id=model._meta.model_name) for model, page in registered()]
each_page = pytest.mark.parametrize(("model", "page"), PAGES)
each_group = pytest.mark.parametrize("group", GROUPS)


@pytest.fixture(autouse=True)
def alone(settings: Settings, tmp_path: Path) -> None:
    settings.REDIS_URL, settings.NEXUS_DATA = "", tmp_path


@pytest.fixture
def ours(db: None) -> Tenant:
    return tenant(OURS)


@pytest.fixture
def theirs(db: None) -> Tenant:
    return tenant(ZEBRA)


@pytest.fixture
def nobodys(db: None) -> Tenant:
    return nobody()


@pytest.fixture
def operator(ours: Tenant) -> Client:
    return browser(person("operator", ours.domain))


def asked(client: Client, url: str, data: Any = None, *, ids: Iterable[Any] = (), method: str = "get") -> Any:
    """The whole of an answer, with what follows on it; ids and what is drawn by lot are made alike."""
    answer = getattr(client, method)(url, data or {}, follow=True)
    chain = [place for place, _ in answer.redirect_chain]
    return (answer.status_code, *(alike(text, ids) for text in (str(chain), answer.content.decode())))


def alike(text: str, ids: Iterable[Any]) -> str:
    for each in ids:
        for name in (str(each), quote(each), getattr(each, "hex", str(each))):
            text = text.replace(name, "ID")
    return re.sub(r"\b[A-Za-z0-9]{64}\b", "TOKEN", text)


def unknown(row: Any) -> Any:
    """An id of the same kind that does not exist."""
    return new_id() if not isinstance(row.pk, str) else "x" + row.pk[1:]


def root(model: type[Model]) -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/"


def urls(model: type[Model], page: Any, pk: Any) -> Iterator[str]:
    """All that the page answers, for one row."""
    for pattern in page.get_urls():
        yield root(model) + re.sub(r"<[^>]*>", quote(pk), str(pattern.pattern))


def everything() -> str:
    """All rows of the pages, as they are."""
    return "".join(serializers.serialize("json", model._default_manager.order_by("pk")) for model, _ in registered())


def others(model: type[Model], *tenants: Tenant) -> list[Any]:
    return [row for each in tenants for row in each.rows.get(model, []) if model not in EVERYBODYS]


# --- Whose rows there are ----------------------------------------------------------------------------------------


@each_page
def test_every_page_knows_whose_rows_it_shows(model: type[Model], page: Any) -> None:
    assert isinstance(page, Confined) or model in (User, Group)


@each_page
@each_group
def test_a_row_of_others_answers_like_one_that_does_not_exist(
    model: type[Model], page: Any, group: str, ours: Tenant, theirs: Tenant, nobodys: Tenant
) -> None:
    client, before, count = browser(person(group, ours.domain)), everything(), 0
    for row in others(model, theirs, nobodys):
        nothing = unknown(row)
        for there, nowhere in zip(urls(model, page, row.pk), urls(model, page, nothing), strict=True):
            ids = (row.pk, nothing)
            for method, data in (("get", {}), ("post", {"post": "yes", "do": "check"})):
                found = asked(client, there, data, ids=ids, method=method)
                assert found == asked(client, nowhere, data, ids=ids, method=method), (method, there)
                assert not re.search(f"{ZEBRA}|{NOBODYS}", "".join(found[1:])), (method, there)
                count += 1
    assert count or model in (*EVERYBODYS, User, Group)
    assert everything() == before


@each_page
@each_group
def test_rows_of_ones_own_domain_are_there(
    model: type[Model], page: Any, group: str, ours: Tenant, theirs: Tenant, nobodys: Tenant
) -> None:
    client = browser(person(group, ours.domain))
    may = model in (*LOOKED_AT, *EVERYBODYS, *(SET_UP if group == "operator" else ()))
    assert client.get(root(model)).status_code == (200 if may else 403)
    for row in ours.rows.get(model, []):
        for url in urls(model, page, row.pk):
            answer = client.get(url)
            if url.endswith("/change/"):
                assert answer.status_code == (200 if may else 403), url
            assert answer.status_code < 500, url
            assert not re.search(f"{ZEBRA}|{NOBODYS}", answer.content.decode()), url


@each_page
def test_a_viewer_changes_nothing(model: type[Model], page: Any, ours: Tenant) -> None:
    client, before = browser(person("viewer", ours.domain)), everything()
    assert client.get(root(model) + "add/").status_code == 403
    for row in ours.rows.get(model, []):
        for url in urls(model, page, row.pk):
            for data in ({"post": "yes", "do": "share-5"}, {"name": "changed", "host": "changed.example.com"}):
                assert client.post(url, data).status_code in (302, 403, 404, 405) or "/change/" not in url, url
    assert everything() == before


@each_page
@pytest.mark.parametrize("group", [*GROUPS, None])
def test_without_a_membership_there_is_nothing(
    model: type[Model], page: Any, group: str | None, ours: Tenant, theirs: Tenant, nobodys: Tenant
) -> None:
    client = browser(person(group) if group else User.objects.create_user("nobody", is_staff=True))
    listed = client.get(root(model))
    assert listed.status_code in (200, 403)
    assert not re.search(f"{OURS}|{ZEBRA}|{NOBODYS}", listed.content.decode())
    assert client.get(root(model) + "add/").status_code == 403
    for row in others(model, ours):
        nothing = unknown(row)
        for there, nowhere in zip(urls(model, page, row.pk), urls(model, page, nothing), strict=True):
            assert asked(client, there, ids=(row.pk, nothing)) == asked(client, nowhere, ids=(row.pk, nothing))


def test_who_sees_all_domains_sees_all(ours: Tenant, theirs: Tenant, nobodys: Tenant) -> None:
    client = browser(person("admin"))
    for model, page in registered():
        assert client.get(root(model)).status_code == 200, model
        for row in (*ours.rows.get(model, []), *theirs.rows.get(model, []), *nobodys.rows.get(model, [])):
            assert page.get_queryset(_request(client)).filter(pk=row.pk).exists() or model in (User, Group)
            assert client.get(f"{root(model)}{quote(row.pk)}/change/").status_code == 200, row


def _request(client: Client) -> Any:
    return client.get("/admin/").wsgi_request


# --- Lists ---------------------------------------------------------------------------------------------------------


@each_page
@each_group
def test_no_filter_search_or_order_shows_what_is_others(
    model: type[Model], page: Any, group: str, ours: Tenant, theirs: Tenant, nobodys: Tenant
) -> None:
    client = browser(person(group, ours.domain))
    answer = client.get(root(model))
    if answer.status_code == 403:
        return
    changes = answer.context["cl"]
    choices = [each["query_string"] for spec in changes.filter_specs for each in spec.choices(changes)]
    orders = [f"?o={number}" for number in range(1, len(changes.list_display) + 1)]
    for query in ("", *choices, *orders, "?all=", "?_facets=True", "?_popup=1", "?_to_field=id"):
        shown = client.get(root(model) + query)
        assert shown.status_code in (200, 302, 400), query
        assert not re.search(f"{ZEBRA}|{NOBODYS}", shown.content.decode()), query
    found, nothing = (asked(client, root(model), {"q": word}, ids=[word]) for word in (ZEBRA, "nothing-such"))
    assert found == nothing


@each_page
@each_group
def test_no_column_is_asked_for_what_it_holds_of_others(
    model: type[Model], page: Any, group: str, ours: Tenant, theirs: Tenant, nobodys: Tenant
) -> None:
    client = browser(person(group, ours.domain))
    for row in others(model, theirs, nobodys):
        for column in model._meta.concrete_fields:
            value = column.value_from_object(row)
            if value in (None, "", True, False) or not isinstance(value, str | type(row.pk)):
                continue
            nothing = "nothing-such" if isinstance(value, str) else new_id()
            for how in ("", "__exact", "__gte", "__startswith"):
                for name in {column.name, column.attname, f"{column.name}__id", f"{column.name}__pk"}:
                    there, nowhere = (
                        asked(client, root(model), {name + how: each}, ids=(value, nothing))
                        for each in (value, nothing)
                    )
                    assert there == nowhere, (name, how)


@each_group
def test_what_is_said_is_not_found_by_asking_for_it(group: str, ours: Tenant) -> None:
    """Columns that no page shows are no filter either."""
    client = browser(person(group, ours.domain))
    for query in (
        *("request_preview__contains=w", "response_preview__startswith=w", "body__request_headers__contains=w"),
        *("client_key__digest__startswith=a", "domain__host__startswith=w", "credential__secret__startswith=sk"),
    ):
        assert client.get(f"{root(ExchangeRow)}?{query}").status_code == 400, query
    for model, query in ((ClientKey, "digest__startswith=a"), (Credential, "fingerprint__startswith=a")):
        assert client.get(f"{root(model)}?{query}").status_code in (400, 403), query
    own = ours.one(ExchangeRow)
    for query in (f"domain__id__exact={own.domain_id}", f"client_key={own.client_key_id}", f"id__gte={own.id}"):
        assert OURS in client.get(f"{root(ExchangeRow)}?{query}").content.decode(), query


# --- Choices -------------------------------------------------------------------------------------------------------


@each_page
def test_no_choice_is_another_domains(
    model: type[Model], page: Any, ours: Tenant, theirs: Tenant, nobodys: Tenant, operator: Client
) -> None:
    for column in (*model._meta.fields, *model._meta.many_to_many):
        if column.remote_field is None:
            continue
        of = {"app_label": model._meta.app_label, "model_name": model._meta.model_name, "field_name": column.name}
        for term in ("", ZEBRA, NOBODYS):
            answer = operator.get("/admin/autocomplete/", of | {"term": term})
            assert answer.status_code in (200, 403, 404)
            assert not re.search(f"{ZEBRA}|{NOBODYS}", answer.content.decode()), column
        rows = [each for each in theirs.rows.get(column.remote_field.model, [])]
        for row in rows:
            shown = operator.get(f"{root(model)}add/", {column.name: row.pk})
            assert not re.search(f"{ZEBRA}|{NOBODYS}", shown.content.decode()), column


def test_ones_own_are_offered(ours: Tenant, theirs: Tenant, operator: Client) -> None:
    for model, column in (("ratelimit", "domain"), ("ratelimit", "client_key"), ("ratelimit", "credential")):
        of = {"app_label": "accounts", "model_name": model, "field_name": column, "term": ""}
        texts = [each["text"] for each in operator.get("/admin/autocomplete/", of).json()["results"]]
        assert texts
        assert all(text.startswith(OURS) for text in texts)


# --- Actions -------------------------------------------------------------------------------------------------------


@each_page
@each_group
def test_no_action_reaches_what_is_others(
    model: type[Model],
    page: Any,
    group: str,
    ours: Tenant,
    theirs: Tenant,
    nobodys: Tenant,
    admin_client: Client,
) -> None:
    client, before = browser(person(group, ours.domain)), everything()
    for action in page.get_actions(admin_client.get(root(model)).wsgi_request):
        for row in others(model, theirs, nobodys):
            nothing = unknown(row)
            there, nowhere = (
                asked(
                    client,
                    root(model),
                    {"action": action, "_selected_action": [str(pk)], "post": "yes", "index": "0"},
                    ids=(row.pk, nothing),
                    method="post",
                )
                for pk in (row.pk, nothing)
            )
            assert there == nowhere, action
            assert ZEBRA not in there[2]
    assert everything() == before


def test_actions_reach_ones_own(ours: Tenant, theirs: Tenant, operator: Client) -> None:
    for each, is_revoked in ((theirs, False), (ours, True)):
        key = each.one(ClientKey)
        operator.post(root(ClientKey), {"action": "revoke", "_selected_action": [str(key.pk)], "post": "yes"})
        key.refresh_from_db()
        assert (key.state == "revoked") is is_revoked
