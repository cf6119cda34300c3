"""Every page, filter, choice, action and own URL of the admin, for those who are members of one domain: what is of
another domain answers like what does not exist, and what is of one's own is there."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core import serializers
from django.db import connection
from django.db.models import Model
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts.ids import new_id
from accounts.models import Budget, ClientKey, Credential, Domain, Membership, RateLimit
from accounts.scoping import HELD, NEEDS_DOMAIN, Confined
from telemetry.admin.credentials import StandingCredentialAdmin
from telemetry.admin.notices import HEARS_ALL
from telemetry.models import (
    BatchRow,
    Belonging,
    Delivery,
    ExchangeRow,
    Incident,
    PriceRow,
    SlackSettings,
    Webhook,
)
from tests.conftest import POOLED
from tests.telemetry.admin.tenants import NOBODYS, OURS, ZEBRA, Tenant, browser, nobody, person, registered, tenant
from tests.telemetry.facts import stored_exchange

pytestmark = [pytest.mark.django_db, pytest.mark.once]
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
    """The whole of an answer, with what follows on it; ids, tokens and the time of day are made alike."""
    client.cookies.pop("messages", None)  # of an answer before that had no page to show them on
    answer = getattr(client, method)(url, data or {}, follow=True)
    chain = [place for place, _ in answer.redirect_chain]
    return (answer.status_code, *(alike(text, ids) for text in (str(chain), answer.content.decode())))


def alike(text: str, ids: Iterable[Any]) -> str:
    for each in ids:
        for name in (str(each), quote(str(each)), getattr(each, "hex", str(each))):
            text = text.replace(name, "ID")
    return re.sub(r"\b\d\d:\d\d:\d\d\b", "NOW", re.sub(r"\b[A-Za-z0-9]{64}\b", "TOKEN", text))


def unknown(row: Any) -> Any:
    """An id of the same kind that does not exist."""
    return new_id() if not isinstance(row.pk, str) else "x" + row.pk[1:]


def root(model: type[Model]) -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/"


def urls(model: type[Model], page: Any, pk: Any) -> Iterator[str]:
    """All that the page answers, for one row."""
    for pattern in page.get_urls():
        yield root(model) + re.sub(r"<[^>]*>", quote(str(pk)), str(pattern.pattern))


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


@each_page
def test_who_is_not_signed_in_as_staff_is_sent_to_the_login(model: type[Model], page: Any, ours: Tenant) -> None:
    customer = User.objects.create_user("customer")
    Membership.objects.create(user=customer, domain=ours.one(Domain))
    for client in (Client(), browser(customer)):
        for row in ours.rows.get(model, [customer]):
            for url in urls(model, page, row.pk):
                for answer in (client.get(url), client.post(url)):
                    assert answer.status_code in (302, 405), url
                    assert answer.status_code == 405 or answer.headers["Location"].startswith("/admin/login/"), url


@each_group
def test_what_belongs_to_no_page_tells_nothing(group: str, ours: Tenant, theirs: Tenant, nobodys: Tenant) -> None:
    client = browser(person(group, ours.domain))
    for url in (
        "/admin/",
        "/admin/accounts/",
        "/admin/telemetry/",
        "/admin/search/?s=zebra&extended=1",
        "/admin/jsi18n/",
    ):
        assert not re.search(f"{ZEBRA}|{NOBODYS}", client.get(url).content.decode()), url
    for model, _ in registered():
        kind = ContentType.objects.get_for_model(model).pk
        for row in others(model, theirs, nobodys):
            nothing = unknown(row)
            there, nowhere = (
                asked(client, f"/admin/r/{kind}/{quote(str(pk))}/", ids=(row.pk, nothing)) for pk in (row.pk, nothing)
            )
            assert there == nowhere, model


def test_memberships_are_asked_for_once_a_request(ours: Tenant, operator: Client) -> None:
    for model in (*LOOKED_AT, *SET_UP):
        with CaptureQueriesContext(connection) as made:
            assert operator.get(root(model)).status_code == 200
        assert sum('FROM "accounts_membership"' in query["sql"] for query in made) == 1, model


def test_who_loses_a_membership_sees_nothing_at_once(ours: Tenant, operator: Client) -> None:
    url = f"{root(ClientKey)}{ours.one(ClientKey).pk}/change/"
    assert operator.get(url).status_code == 200
    Membership.objects.all().delete()
    assert operator.get(url).status_code == 302
    assert OURS not in operator.get(root(ClientKey)).content.decode()


def test_who_sees_all_domains_sees_all(ours: Tenant, theirs: Tenant, nobodys: Tenant) -> None:
    client = browser(person("admin"))
    for model, page in registered():
        assert client.get(root(model)).status_code == 200, model
        for row in (*ours.rows.get(model, []), *theirs.rows.get(model, []), *nobodys.rows.get(model, [])):
            assert page.get_queryset(_request(client)).filter(pk=row.pk).exists() or model in (User, Group)
            assert client.get(f"{root(model)}{quote(str(row.pk))}/change/").status_code == 200, row


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


@pytest.mark.once
@each_page
@each_group
def test_no_column_is_asked_for_what_it_holds_of_others(
    model: type[Model], page: Any, group: str, ours: Tenant, theirs: Tenant, nobodys: Tenant
) -> None:
    client = browser(person(group, ours.domain))
    for row in others(model, theirs, nobodys):
        for column in model._meta.concrete_fields:
            value = column.value_from_object(row)
            if not (isinstance(value, UUID) or (isinstance(value, str) and re.search(f"{ZEBRA}|{NOBODYS}", value))):
                continue
            nothing = "nothing-such" if isinstance(value, str) else new_id()
            for how in ("", "__gte", "__startswith"):
                for name in {column.name, column.attname, f"{column.name}__id"}:
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
        of = {"app_label": model._meta.app_label, "model_name": str(model._meta.model_name), "field_name": column.name}
        for term in ("", ZEBRA, NOBODYS):
            answer = operator.get("/admin/autocomplete/", of | {"term": term})
            assert answer.status_code in (200, 403, 404)
            assert not re.search(f"{ZEBRA}|{NOBODYS}", answer.content.decode()), column
        rows = theirs.rows.get(column.remote_field.model, [])
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
    actions = page.get_actions(admin_client.get(root(model)).wsgi_request)
    client, before = browser(person(group, ours.domain)), everything()
    for action in actions:
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
        operator.post(root(ClientKey), {"action": "revoke", "_selected_action": [str(key.pk)], "confirmed": "yes"})
        key.refresh_from_db()
        assert (key.state == "revoked") is is_revoked


def test_an_action_gets_the_rows_that_may_be_changed(ours: Tenant, theirs: Tenant) -> None:
    """Of those that may be seen: what others share is among them."""
    row, taken = theirs.one(Credential), []
    row.shared_with.add(ours.one(Domain))

    class Page(StandingCredentialAdmin):
        actions = ("take",)

        @admin.action(description="Take", permissions=["change"])
        def take(self, request: Any, rows: Any) -> None:
            taken.extend(rows)

    own, page = ours.one(Credential), Page(Credential, admin.site)
    data = {"action": "take", "_selected_action": [str(own.pk), str(row.pk)], "index": "0"}
    request = RequestFactory().post(root(Credential), data)
    request.user = person("operator", ours.domain)
    seen = page.get_queryset(request)
    assert {own, row} <= {*seen}
    page.response_action(request, queryset=seen)
    assert taken == [own]


# --- Forms ---------------------------------------------------------------------------------------------------------

RATES = dict.fromkeys(
    [f"{what}_per_{span}" for what in ("requests", "input_tokens", "output_tokens") for span in ("minute", "hour")], ""
)
LIMIT = RATES | {"requests_per_minute": "5", "concurrent_requests": "", "model_pattern": "new-*", "is_active": "on"}
BUDGET = {"name": "new", "amount_usd": "5", "period": "month", "starts_at_0": "2026-11-01", "starts_at_1": "00:00:00"}
CREDENTIAL = {"name": "new", "kind": "api_key", "priority": "0", "secret": "sk-ant-api03-fake-new-credential", **POOLED}
SLACK = {"is_on": "True"}
HOOK = {
    "name": "new",
    "new_url": "https://new.example.org/x",
    "new_secret": "fake-secret-of-16-or-more",
    "kinds": "error",
}
KEY = {"name": "new", "weight": "1"}
NEW = [
    (RateLimit, LIMIT, "domain", Domain),
    (RateLimit, LIMIT, "client_key", ClientKey),
    (RateLimit, LIMIT, "credential", Credential),
    (Budget, BUDGET, "domain", Domain),
    (Budget, BUDGET, "client_key", ClientKey),
    (Credential, CREDENTIAL, "domain", Domain),
    (SlackSettings, SLACK, "domain", Domain),
    (Webhook, HOOK, "domain", Domain),
    (ClientKey, KEY, "domain", Domain),
]
each_form = pytest.mark.parametrize(
    ("model", "form", "column", "of"), NEW, ids=[f"{n[0].__name__}-{n[2]}" for n in NEW]
)


@each_form
def test_a_form_takes_ones_own_domains_alone(
    model: Any, form: dict[str, str], column: str, of: type[Model], ours: Tenant, theirs: Tenant, operator: Client
) -> None:
    SlackSettings.objects.filter(domain=ours.domain).delete()  # there is one for a domain
    url, before, nothing = f"{root(model)}add/", everything(), new_id()
    row = theirs.one(of)
    there, nowhere = (
        asked(operator, url, form | {column: str(pk)}, ids=(row.pk, nothing), method="post") for pk in (row.pk, nothing)
    )
    assert there == nowhere
    assert "Select a valid choice" in there[2]
    operator.post(url, form)
    assert everything() == before
    answer = operator.post(url, form | {column: str(ours.one(of).pk)})
    shows_a_secret = model is ClientKey and b"secret-1" in answer.content
    assert answer.status_code == 302 or shows_a_secret, answer.content
    assert model.objects.latest("pk").pk not in {row.pk for row in ours.rows.get(model, ())}


@each_form
def test_a_row_is_not_given_to_others(
    model: Any, form: dict[str, str], column: str, of: type[Model], ours: Tenant, theirs: Tenant, operator: Client
) -> None:
    row, before = ours.one(model), everything()
    for value in (str(theirs.one(of).pk), ""):
        operator.post(f"{root(model)}{row.pk}/change/", form | {"domain": "", column: value})
        row.refresh_from_db()
    if model is not ClientKey:  # whose domain cannot be changed at all
        assert everything() == before
    assert row.domain_id in (ours.domain and ours.domain.pk, None)


def test_what_is_for_everything_is_asked_in_a_sentence(operator: Client, ours: Tenant) -> None:
    for model, form in ((RateLimit, LIMIT), (Budget, BUDGET), (SlackSettings, SLACK), (Webhook, HOOK)):
        assert NEEDS_DOMAIN in operator.post(f"{root(model)}add/", form).content.decode(), model
    client = browser(person("admin"))
    for model, form in ((RateLimit, LIMIT), (Budget, BUDGET), (SlackSettings, SLACK), (Webhook, HOOK)):
        assert client.post(f"{root(model)}add/", form).status_code == 302, model


def test_a_credential_replaces_one_of_ones_own(ours: Tenant, theirs: Tenant, operator: Client) -> None:
    url, form = f"{root(Credential)}add/", CREDENTIAL | {"domain": str(ours.one(Domain).pk)}
    shown = operator.post(url, form | {"replaces": str(theirs.one(Credential).pk)}).content.decode()
    assert "Select a valid choice" in shown
    assert operator.post(url, form | {"replaces": str(ours.one(Credential).pk)}).status_code == 302


def test_prices_rules_people_and_domains_are_the_admins(
    operator: Client, ours: Tenant, nobodys: Tenant, admin_client: Client
) -> None:
    price = nobodys.one(PriceRow)
    assert operator.get(root(PriceRow)).status_code == 200
    assert operator.get(f"{root(PriceRow)}{price.pk}/change/").status_code == 200
    for url in (
        *(f"{root(PriceRow)}add/", f"{root(PriceRow)}{price.pk}/delete/", f"{root(PriceRow)}reprice/?ids={price.pk}"),
        *(f"{root(Domain)}add/", f"{root(Domain)}{ours.one(Domain).pk}/delete/"),
        *("/admin/auth/user/", "/admin/auth/group/", "/admin/telemetry/rulesettings/", "/admin/telemetry/target/"),
        *("/admin/telemetry/adjustment/", "/admin/telemetry/repricingrow/"),
    ):
        assert operator.get(url).status_code == 403, url
        assert admin_client.get(url).status_code == 200, url


def test_what_has_no_price_is_counted_for_those_who_see_all(theirs: Tenant, operator: Client) -> None:
    stored_exchange(domain_id=theirs.one(Domain).pk, pricing="unpriced", answered_model="zebra-unpriced")
    assert "zebra-unpriced" in browser(person("admin")).get(root(PriceRow)).content.decode()
    assert "zebra-unpriced" not in operator.get(root(PriceRow)).content.decode()


def test_the_installation_s_places_are_not_told(ours: Tenant, operator: Client) -> None:
    row, other = ours.one(Delivery), browser(person("admin"))
    Delivery.objects.update(target_label="Slack #yetis", state="failed", settled_at=timezone.now())
    for url in ("/admin/", root(Delivery), f"{root(Delivery)}{row.pk}/change/"):
        assert "Slack #yetis" in other.get(url).content.decode(), url
        assert "Slack #yetis" not in operator.get(url).content.decode(), url


def test_memberships_are_given_by_those_who_see_all(ours: Tenant, theirs: Tenant) -> None:
    """Even to change one's own domain with every right does not do."""
    someone = person("operator", ours.domain)
    someone.user_permissions.set(Permission.objects.exclude(codename="all_domains"))
    form = {"is_active": "on", "storage": "full", "unpriced_models": "assume", "max_wait_seconds": "7"}
    member = {"memberships-TOTAL_FORMS": 1, "memberships-INITIAL_FORMS": 0, "memberships-0-user": someone.pk}
    url = f"{root(Domain)}{ours.one(Domain).pk}/change/"
    answer = browser(someone).post(url, form | member | {"host": "taken.example.com", "reaches_slack": "unknown"})
    assert answer.status_code == 302
    changed = Domain.objects.get(pk=ours.one(Domain).pk)
    assert (changed.max_wait_seconds, changed.host) == (7, "walrus.example.com")
    assert Membership.objects.count() == 1


# --- What others share -----------------------------------------------------------------------------------------------


@pytest.fixture
def shared(ours: Tenant, theirs: Tenant) -> Credential:
    """Another domain's, which lets ours and a third one use it."""
    row: Credential = theirs.one(Credential)
    row.shared_with.add(ours.one(Domain), Domain.objects.create(host="third-zebra.example.com"))
    Credential.objects.filter(pk=row.pk).update(name="lent", replaces=theirs.rows[Credential][1])
    stored_exchange(domain_id=ours.one(Domain).pk, credential_id=row.pk)
    stored_exchange(domain_id=theirs.one(Domain).pk, credential_id=row.pk)
    row.refresh_from_db()
    return row


def test_a_shared_credential_shows_its_name_and_how_it_stands(shared: Credential, operator: Client) -> None:
    for url in (
        *(root(Credential), f"{root(Credential)}?q=lent", f"{root(Credential)}?o=1", f"{root(Credential)}?o=3"),
        *(f"{root(Credential)}{shared.pk}/change/", f"{root(Credential)}{shared.pk}/standing/"),
    ):
        shown = operator.get(url)
        assert shown.status_code == 200, url
        text = shown.content.decode()
        assert "lent" in text or "standing" in url
        assert not re.search(ZEBRA, text), url
        assert shared.masked not in text
    uses = operator.get(f"{root(Credential)}{shared.pk}/change/").context["uses"]
    assert [(use.domain, use.requests) for use in uses] == [("walrus.example.com", 1)]


def test_whose_a_shared_credential_is_cannot_be_found_out(shared: Credential, theirs: Tenant, operator: Client) -> None:
    domain, nothing = theirs.one(Domain), new_id()
    for how in ("domain", "domain__id__exact", "domain__exact", "domain__pk", "domain__id__gte", "domain__in"):
        there, nowhere = (
            asked(operator, root(Credential), {how: pk}, ids=(domain.pk, nothing)) for pk in (domain.pk, nothing)
        )
        assert there == nowhere, how
    for word in (shared.fingerprint, shared.owner):
        assert "lent" not in operator.get(root(Credential), {"q": word}).content.decode(), word
    assert operator.get(f"{root(Credential)}{shared.pk}/history/").status_code == 403


def test_a_shared_credential_is_not_changed(
    shared: Credential, operator: Client, ours: Tenant, admin_client: Client
) -> None:
    before, page = everything(), f"{root(Credential)}{shared.pk}/"
    change = CREDENTIAL | {"domain": str(ours.one(Domain).pk)}
    for url, data in (("change/", change), ("delete/", {"post": "yes"}), ("do/", {"do": "share-25"})):
        assert operator.post(page + url, data).status_code == 403, url
    renewed = Credential.objects.filter(pk=shared.pk)
    assert operator.post(f"{page}sign-in/").status_code == 404
    assert everything() == before
    renewed.update(kind="oauth")
    assert operator.post(f"{page}sign-in/").status_code == 403
    actions = admin_client.get(root(Credential)).context["cl"].model_admin.get_actions(_request(admin_client))
    before = everything()
    for action in actions:
        operator.post(root(Credential), {"action": action, "_selected_action": [str(shared.pk)], "post": "yes"})
    assert everything() == before
    limit = LIMIT | {"credential": str(shared.pk)}
    assert "Select a valid choice" in operator.post(f"{root(RateLimit)}add/", limit).content.decode()
    of = {"app_label": "accounts", "model_name": "ratelimit", "field_name": "credential", "term": ""}
    assert "lent" not in operator.get("/admin/autocomplete/", of).content.decode()


def test_with_whom_one_shares_stays_when_it_is_not_shown(ours: Tenant, theirs: Tenant, operator: Client) -> None:
    row: Credential = ours.one(Credential)
    second = Domain.objects.create(host="second-walrus.example.com")
    Membership.objects.create(user=User.objects.get(), domain=second)
    row.shared_with.add(theirs.one(Domain))
    url = f"{root(Credential)}{row.pk}/change/"
    form: dict[str, Any] = {**CREDENTIAL, "domain": str(row.domain_id), "secret": ""}
    assert not re.search(ZEBRA, operator.get(url).content.decode())
    assert operator.post(url, {**form, "shared_with": [str(second.pk)]}).status_code == 302
    assert {*row.shared_with.all()} == {second, theirs.one(Domain)}
    assert operator.post(url, form).status_code == 302
    assert {*row.shared_with.all()} == {theirs.one(Domain)}


def test_what_keeps_a_row_from_being_deleted_is_not_told_of_others(
    ours: Tenant, theirs: Tenant, operator: Client, admin_client: Client
) -> None:
    row = ours.rows[Credential][1]
    Belonging.objects.create(id="file_of_a_zebra", domain=theirs.one(Domain), credential=row)
    url = f"{root(Credential)}{row.pk}/delete/"
    assert "file_of_a_zebra" in admin_client.get(url).content.decode()
    shown = operator.get(url).content.decode()
    assert not re.search(ZEBRA, shown)
    assert HELD in shown
    operator.post(url, {"post": "yes"})
    assert Credential.objects.filter(pk=row.pk).exists()


def test_limits_of_everything_are_seen_by_those_who_see_all(
    ours: Tenant, nobodys: Tenant, operator: Client, admin_client: Client
) -> None:
    for model in (Domain, ClientKey, Credential):
        for end in ("change/", "use/"):
            url = f"{root(model)}{ours.one(model).pk}/{end}"
            assert NOBODYS in admin_client.get(url).content.decode(), url
            assert NOBODYS not in operator.get(url).content.decode(), url
    ids = ",".join(str(row.pk) for row in (*ours.rows[RateLimit], *nobodys.rows[RateLimit]))
    shown = operator.get(f"{root(RateLimit)}use/?ids={ids}").json()
    assert shown.keys() == {str(row.pk) for row in ours.rows[RateLimit]}


# --- What was said ---------------------------------------------------------------------------------------------------


def test_bodies_take_their_permission(ours: Tenant) -> None:
    someone, url = person("operator", ours.domain), f"{root(ExchangeRow)}{ours.one(ExchangeRow).pk}/change/"
    words = ("&quot;said&quot;: &quot;walrus&quot;", "content-type", "req_01test")
    shown = browser(someone).get(url).content.decode()
    assert not [word for word in words if word in shown]
    someone.user_permissions.add(Permission.objects.get(codename="view_bodyrow"))
    shown = browser(someone).get(url).content.decode()
    assert not [word for word in words if word not in shown]


def test_to_say_where_conversations_go_takes_it_too(ours: Tenant) -> None:
    someone = person("operator", ours.domain)
    client, domain = browser(someone), str(ours.one(Domain).pk)
    hook, slack = ours.one(Webhook), ours.one(SlackSettings)
    hears, address = HOOK | {"domain": domain, "kinds": "conversation"}, "https://hooks.slack.example/fake"
    where = {"domain": domain, "is_on": "", "channel": "#elsewhere", "new_webhook_url": address}
    url = f"{root(SlackSettings)}{slack.pk}/change/"
    assert HEARS_ALL in client.post(f"{root(Webhook)}add/", hears).content.decode()
    assert HEARS_ALL in client.post(url, where).content.decode()
    assert client.post(url, where | {"new_webhook_url": "", "username": "nexus"}).status_code == 302
    Webhook.objects.update(kinds=["conversation"])
    assert client.post(f"{root(Webhook)}{hook.pk}/change/", HOOK | {"domain": domain}).status_code == 403
    slack.refresh_from_db()
    assert (slack.channel, slack.webhook_masked, slack.username) == ("#walrus", "", "nexus")
    someone.user_permissions.add(Permission.objects.get(codename="view_bodyrow"))
    client = browser(someone)
    assert client.post(f"{root(Webhook)}add/", hears).status_code == 302
    assert client.post(url, where).status_code == 302
    slack.refresh_from_db()
    assert (slack.channel, bool(slack.webhook_masked)) == ("#elsewhere", True)
