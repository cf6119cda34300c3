"""Credentials in the admin: how each stands, at a price that does not grow, and what people can do about it."""

import html
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.models import Credential, CredentialStanding, Domain, Installation, OAuthToken
from bench.standin import Standin, serve_in_thread
from telemetry.credentials import marking
from tests.conftest import FAKE_API_KEY, POOLED
from tests.telemetry.credentials.standings import Known
from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db
CREDENTIALS = "/admin/accounts/credential/"
REVOKED = "sk-ant-api03-fake-revoked-credential-0001"


@pytest.fixture(scope="module")
def served() -> Iterator[Standin]:
    with serve_in_thread() as standin:
        yield standin


@pytest.fixture(autouse=True)
def known(served: Standin, settings: Settings, tmp_path: Path) -> Known:
    served.reset()
    settings.REDIS_URL, settings.NEXUS_DATA = "", tmp_path
    settings.UPSTREAM = replace(settings.UPSTREAM, base_url=served.url)
    return Known(tmp_path)


@pytest.fixture
def new(credential: Credential) -> Credential:
    """Replaces the other one, and gets 5 % of its sessions."""
    return Credential.objects.create(
        domain=credential.domain,
        name="new",
        secret="sk-ant-api03-fake-new-credential-1",
        replaces=credential,
        priority=7,
    )


def page(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


def do(client: Client, credential: Credential, deed: str) -> str:
    """What people are told."""
    answer = client.post(f"{CREDENTIALS}{credential.id}/do/", {"do": deed, "confirmed": "yes"}, follow=True)
    assert answer.status_code == 200
    credential.refresh_from_db()
    return " ".join(str(message) for message in answer.context["messages"])


def somebody(*permissions: str) -> Client:
    user = User.objects.create_user(f"user-{len(permissions)}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=(*permissions, "all_domains")))
    client = Client()
    client.force_login(user)
    return client


def test_no_credential_yet(admin_client: Client, credential: Credential) -> None:
    assert "There is no credential yet" not in page(admin_client, CREDENTIALS)
    assert "There is no credential yet" not in page(admin_client, f"{CREDENTIALS}?q=nothing")
    credential.delete()
    assert "There is no credential yet" in page(admin_client, CREDENTIALS)


def test_the_list_shows_how_each_stands(admin_client: Client, domain: Domain, known: Known) -> None:
    names = ("well", "refused", "cool", "circuit", "off")
    rows = {name: Credential.objects.create(domain=domain, name=name, secret="y" * 20) for name in names}
    marking.mark_invalid(rows["refused"].id, "The API does not take it (401).")
    known.cool(rows["cool"])
    known.open(rows["circuit"])
    Credential.objects.filter(name="off").update(is_active=False)
    shown = page(admin_client, CREDENTIALS)
    assert '<span class="standing ok" title="">ok</span>' in shown
    assert '<span class="standing invalid" title="The API does not take it (401).">invalid</span>' in shown
    assert '<span class="standing cooling" title="The API has answered 429 for haiku.">cooling</span>' in shown
    assert '<span class="standing open"' in shown
    assert '<span class="standing off" title="">switched off</span>' in shown


def test_the_list_costs_the_same_for_one_and_for_many(admin_client: Client, credential: Credential) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as asked:
            page(admin_client, CREDENTIALS)
        return len(asked)

    queries()
    before = queries()
    for n in range(5):
        row = Credential.objects.create(domain=credential.domain, name=f"{n}", kind="oauth", replaces=credential)
        OAuthToken.objects.create(credential=row, access_token="x" * 20)
        marking.note(row.id, check_status=200)
    assert queries() == before


def test_its_page_says_all_that_is_known(
    admin_client: Client, credential: Credential, new: Credential, known: Known, domain: Domain
) -> None:
    do(admin_client, new, "check")
    known.limit(new, "haiku", requests=0.75)
    known.cool(new, "opus")
    stored_exchange(credential_id=new.id, domain_id=domain.id)
    shown = page(admin_client, f"{CREDENTIALS}{new.id}/change/")
    assert "The API has answered 429 for opus." in shown
    assert "organization " in shown
    assert "<li>claude-opus-4-8</li>" in shown
    assert 'value="25"></meter> 25 %' in shown
    assert "75 of 100 left" in shown
    assert "claude.example.com: 1 request in the last hour" in shown
    assert "it gets 5 % of its sessions" in shown
    assert "opus until " in shown
    assert "sk-ant-api03-fake-new" not in shown


def test_the_page_goes_on_showing_how_it_stands(admin_client: Client, credential: Credential, known: Known) -> None:
    url = f"{CREDENTIALS}{credential.id}/standing/"
    assert f'data-live="{url}"' in page(admin_client, f"{CREDENTIALS}{credential.id}/change/")
    assert "closed" in page(admin_client, url)
    known.open(credential)
    assert "It is left alone for a while: the API answered 500." in page(admin_client, url)


def test_a_new_credential_has_no_standing_yet(admin_client: Client) -> None:
    assert "How it stands" not in page(admin_client, f"{CREDENTIALS}add/")


def test_check_now(admin_client: Client, credential: Credential, new: Credential) -> None:
    marking.mark_invalid(credential.id, "401")
    assert "The API takes it: " in do(admin_client, credential, "check")
    assert CredentialStanding.objects.get(credential=credential).invalid_since is None
    Credential.objects.filter(id=new.id).update(secret=REVOKED)
    assert "The API does not take it (401)." in do(admin_client, new, "check")
    assert CredentialStanding.objects.get(credential=new).invalid_since is not None


def test_what_only_the_serving_process_can_do_is_said(admin_client: Client, credential: Credential) -> None:
    for deed in ("reset", "forget"):
        assert "Only the process that serves can do that" in do(admin_client, credential, deed)


def test_what_has_consequences_is_asked_for_first(
    admin_client: Client, credential: Credential, new: Credential
) -> None:
    for deed, words in (("reset", "Reset this"), ("forget", "prompt caches"), ("finish", "main is switched off")):
        answer = admin_client.post(f"{CREDENTIALS}{new.id}/do/", {"do": deed})
        assert words in answer.content.decode()
        assert f'value="{deed}">Yes' in answer.content.decode()
    credential.refresh_from_db()
    assert credential.is_active


def test_its_share_grows_step_by_step(admin_client: Client, new: Credential) -> None:
    marking.roll_back(new.id, "The API answered 401.")
    assert "Taken back on" in page(admin_client, f"{CREDENTIALS}{new.id}/change/")
    generation = Installation.objects.get().generation
    assert "It gets 25 %" in do(admin_client, new, "share-25")
    assert new.traffic_percent == 25
    assert new.standing.rolled_back_at is None
    assert Installation.objects.get().generation > generation
    assert "nothing was changed" in do(admin_client, new, "share-26")
    assert new.traffic_percent == 25


def test_it_is_rolled_back_by_hand(admin_client: Client, new: Credential) -> None:
    assert "no sessions" in do(admin_client, new, "back")
    assert new.traffic_percent == 0
    assert new.standing.rolled_back_at is None
    assert "nothing was changed" in do(admin_client, new, "back")


def test_at_the_end_it_has_the_others_place(
    admin_client: Client, credential: Credential, new: Credential, other_domain: Domain
) -> None:
    Credential.objects.filter(id=credential.id).update(priority=3, weight=4)
    credential.shared_with.add(other_domain)
    third = Credential.objects.create(domain=credential.domain, name="third", secret="z" * 20, replaces=credential)
    assert "main is switched off" in do(admin_client, new, "finish")
    credential.refresh_from_db()
    third.refresh_from_db()
    assert not credential.is_active
    assert (new.priority, new.weight, new.is_standby, new.replaces) == (3, 4, False, None)
    assert new.is_active
    assert [*new.shared_with.all()] == [other_domain]
    assert third.traffic_percent == 0
    assert "nothing was changed" in do(admin_client, new, "finish")


def test_who_replaces_none_has_no_stages(admin_client: Client, credential: Credential) -> None:
    assert "Finish" not in page(admin_client, f"{CREDENTIALS}{credential.id}/change/")
    for deed in ("share-5", "finish", "back"):
        assert "nothing was changed" in do(admin_client, credential, deed)


def test_who_may_only_look_can_do_nothing_and_sees_no_secret(credential: Credential, new: Credential) -> None:
    client = somebody("view_credential")
    shown = page(client, f"{CREDENTIALS}{credential.id}/change/")
    assert "How it stands" in shown
    assert "Check now" not in shown
    assert FAKE_API_KEY not in shown
    assert credential.masked in shown
    assert page(client, f"{CREDENTIALS}{credential.id}/standing/")
    assert client.post(f"{CREDENTIALS}{credential.id}/do/", {"do": "check"}).status_code == 403
    stranger = somebody()
    assert stranger.get(f"{CREDENTIALS}{credential.id}/standing/").status_code == 404
    assert stranger.post(f"{CREDENTIALS}{credential.id}/do/", {"do": "check"}).status_code == 403
    assert not CredentialStanding.objects.exists()


def test_deeds_are_posted_known_and_logged(admin_client: Client, credential: Credential, client: Client) -> None:
    url = f"{CREDENTIALS}{credential.id}/do/"
    assert admin_client.get(url).status_code == 405
    assert admin_client.post(url, {"do": "explode"}).status_code == 404
    assert client.post(url, {"do": "check"}).status_code == 302  # to the login
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="admin"))
    assert strict.post(url, {"do": "check"}).status_code == 403
    do(admin_client, credential, "check")
    assert "The API takes it" in LogEntry.objects.get().get_change_message()


def form(credential: Credential, **changes: Any) -> dict[str, Any]:
    values = {"domain": str(credential.domain_id), "name": credential.name, "kind": "api_key", "priority": "0"}
    return values | POOLED | {"secret": "", "is_active": "on"} | changes


def test_a_form_that_was_open_for_long_undoes_nothing(admin_client: Client, new: Credential) -> None:
    shown = form(new, replaces=str(new.replaces_id), traffic_percent="5", priority="7")
    marking.roll_back(new.id, "The API answered 401.")
    url = f"{CREDENTIALS}{new.id}/change/"
    assert admin_client.post(url, shown | {"name": "renamed", "initial-traffic_percent": "5"}).status_code == 302
    new.refresh_from_db()
    assert new.name == "renamed"
    assert new.traffic_percent == 0
    again = shown | {"initial-traffic_percent": "0", "traffic_percent": "25"}
    assert admin_client.post(url, again).status_code == 302
    new.refresh_from_db()
    assert new.traffic_percent == 25


def test_a_new_secret_is_not_taken_for_the_old_one(admin_client: Client, credential: Credential) -> None:
    marking.mark_invalid(credential.id, "401")
    url = f"{CREDENTIALS}{credential.id}/change/"
    assert admin_client.post(url, form(credential, name="renamed")).status_code == 302
    assert CredentialStanding.objects.get().invalid_since is not None
    assert admin_client.post(url, form(credential, secret="sk-ant-api03-fake-new-credential-1")).status_code == 302
    assert CredentialStanding.objects.get().invalid_since is None
    credential.refresh_from_db()
    assert credential.secret == "sk-ant-api03-fake-new-credential-1"


def test_only_those_of_its_domain_can_be_replaced(
    admin_client: Client, credential: Credential, other_domain: Domain
) -> None:
    other = Credential.objects.create(domain=other_domain, name="stranger", secret="z" * 20)
    mine = Credential.objects.create(domain=credential.domain, name="mine", secret="z" * 20)
    shown = page(admin_client, f"{CREDENTIALS}{credential.id}/change/")
    assert f'<option value="{mine.id}">' in shown
    assert str(other.id) not in shown
    assert f'<option value="{credential.id}">' not in shown


def test_an_owner_is_asked_for(admin_client: Client, domain: Domain) -> None:
    asked = {"domain": str(domain.id), "name": "c", "kind": "api_key", "priority": "0", "secret": FAKE_API_KEY}
    answer = admin_client.post(f"{CREDENTIALS}add/", asked | POOLED | {"owner": ""})
    assert "owner" in answer.context["adminform"].form.errors
    assert not Credential.objects.exists()
