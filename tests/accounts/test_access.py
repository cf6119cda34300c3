"""Who may look: the dashboard's key, and active members of staff. Everybody else is refused in a sentence."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client, RequestFactory
from pytest_django import Settings

from accounts.access import (
    EVERYTHING,
    AccessRefused,
    TooManyTries,
    Viewer,
    viewer_of,
    viewer_of_session,
)
from accounts.ids import new_id
from accounts.models import Domain, Membership

pytestmark = pytest.mark.django_db
FAKE_KEY = "fake-dashboard-key-0001"


@pytest.fixture(autouse=True)
def fresh_counts(settings: Settings) -> None:
    """Wrong keys are counted for each test alone."""
    settings.RATELIMIT_CACHE_PREFIX = f"test-{new_id()}:"


@pytest.fixture
def key(settings: Settings) -> str:
    settings.DASHBOARD_API_KEY = FAKE_KEY
    return FAKE_KEY


def look(user: Any = None, **headers: str) -> Viewer:
    request = RequestFactory().get("/api/requests", headers=headers)
    request.user = user or AnonymousUser()
    request.session = SessionStore()
    return viewer_of(request)


def person(**flags: Any) -> User:
    return User.objects.create_user("ada", **flags)


def test_the_key_sees_everything(key: str) -> None:
    assert look(**{"X-Dashboard-Key": key}) == EVERYTHING


@pytest.mark.parametrize("wrong", ["", "x", FAKE_KEY + " x", FAKE_KEY[:-1], FAKE_KEY.upper(), "schlüssel", "鍵"])
def test_another_key_sees_nothing(key: str, wrong: str) -> None:
    with pytest.raises(AccessRefused, match="is not the one") as refused:
        look(**{"X-Dashboard-Key": wrong})
    assert refused.value.status == 401
    assert FAKE_KEY not in str(refused.value)


@pytest.mark.parametrize("presented", ["", "None", "x"])
def test_without_a_key_in_the_settings_this_way_is_closed(settings: Settings, presented: str) -> None:
    settings.DASHBOARD_API_KEY = ""
    with pytest.raises(AccessRefused, match="DASHBOARD_API_KEY is not set"):
        look(**{"X-Dashboard-Key": presented})


def test_a_wrong_key_is_not_made_good_by_a_session(key: str) -> None:
    with pytest.raises(AccessRefused):
        look(person(is_staff=True, is_superuser=True), **{"X-Dashboard-Key": "wrong"})


def test_nobody_sees_nothing() -> None:
    with pytest.raises(AccessRefused, match="X-Dashboard-Key"):
        look()


@pytest.mark.parametrize(
    "flags",
    [{}, {"is_superuser": True}, {"is_staff": True, "is_active": False}, {"is_superuser": True, "is_active": False}],
)
def test_an_account_that_is_no_active_staff_sees_nothing(flags: dict[str, bool], domain: Domain) -> None:
    user = person(**flags)
    Membership.objects.create(user=user, domain=domain)
    with pytest.raises(AccessRefused):
        look(user)


def test_a_superuser_sees_everything() -> None:
    assert look(person(is_staff=True, is_superuser=True)) == EVERYTHING


def test_a_member_sees_the_domains_of_the_membership(domain: Domain, other_domain: Domain) -> None:
    user = person(is_staff=True)
    assert look(user) == Viewer(frozenset(), may_see_bodies=False)
    Membership.objects.create(user=user, domain=domain)
    assert look(user) == Viewer(frozenset({domain.id}), may_see_bodies=False)


def test_bodies_take_a_permission(domain: Domain) -> None:
    user = person(is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_bodyrow"))
    assert look(User.objects.get(pk=user.pk)).may_see_bodies
    user.user_permissions.set(Permission.objects.filter(codename="view_exchangerow"))
    assert not look(User.objects.get(pk=user.pk)).may_see_bodies


def test_guessing_is_limited_by_address(key: str) -> None:
    for _ in range(30):
        with pytest.raises(AccessRefused, match="is not the one"):
            look(**{"X-Dashboard-Key": "wrong"})
    for presented in ("wrong", key):
        with pytest.raises(TooManyTries):
            look(**{"X-Dashboard-Key": presented})
    assert look(person(is_staff=True, is_superuser=True)) == EVERYTHING


def test_the_right_key_is_not_limited(key: str) -> None:
    for _ in range(32):
        look(**{"X-Dashboard-Key": key})


# --- A session in exchange for the key --------------------------------------------------------------------------------


def signed_in(key: str) -> Client:
    client = Client()
    assert client.post("/dashboard/login", {"key": key}).headers["Location"] == "/dashboard/"
    return client


def test_the_key_opens_a_session_that_does_not_hold_it(key: str) -> None:
    client = signed_in(key)
    assert client.get("/api/requests").status_code == 200
    assert viewer_of_session(client.session.session_key) == EVERYTHING
    assert FAKE_KEY not in str(dict(client.session)) + str(client.cookies)
    assert client.session.get_expiry_age() > 6 * 24 * 3600


def test_the_session_is_a_new_one(key: str) -> None:
    client = Client()
    session = client.session
    session["before"] = 1
    session.save()
    before = client.session.session_key
    client.post("/dashboard/login", {"key": key})
    assert client.session.session_key != before


def test_another_key_in_the_settings_ends_sessions_of_the_old_one(key: str, settings: Settings) -> None:
    client = signed_in(key)
    for other in ("another-key", ""):
        settings.DASHBOARD_API_KEY = other
        assert client.get("/api/requests").status_code == 401
        with pytest.raises(AccessRefused):
            viewer_of_session(client.session.session_key)


def test_a_wrong_key_opens_nothing_and_cannot_be_guessed(key: str) -> None:
    client = Client()
    for _ in range(30):
        answer = client.post("/dashboard/login", {"key": "wrong"})
        assert (answer.status_code, "is not the one" in answer.content.decode()) == (401, True)
    answer = client.post("/dashboard/login", {"key": key})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    assert client.get("/api/requests").status_code == 401


def test_without_a_key_in_the_settings_the_form_is_closed(settings: Settings) -> None:
    settings.DASHBOARD_API_KEY = ""
    assert "DASHBOARD_API_KEY is not set" in Client().get("/dashboard/login").content.decode()
    assert Client().post("/dashboard/login", {"key": ""}).status_code == 401


def test_signing_out_ends_it(key: str) -> None:
    client = signed_in(key)
    session_key = client.session.session_key
    assert client.get("/dashboard/logout").status_code == 405
    assert client.post("/dashboard/logout").headers["Location"] == "/dashboard/login"
    assert client.get("/api/requests").status_code == 401
    with pytest.raises(AccessRefused):
        viewer_of_session(session_key)


def test_the_form_is_guarded_against_other_sites(key: str) -> None:
    assert Client(enforce_csrf_checks=True).post("/dashboard/login", {"key": key}).status_code == 403


@pytest.mark.parametrize(
    "place", ["//evil.example.com/", "https://evil.example.com", "javascript:alert(1)", "\\\\evil"]
)
def test_it_leads_to_our_own_pages_only(key: str, place: str) -> None:
    assert Client().post("/dashboard/login", {"key": key, "next": place}).headers["Location"] == "/dashboard/"
    there = Client().post("/dashboard/login", {"key": key, "next": "/dashboard/requests?model=x"})
    assert there.headers["Location"] == "/dashboard/requests?model=x"


def test_a_session_of_an_account_that_is_no_member_of_staff_any_more_sees_nothing() -> None:
    ada, client = person(is_staff=True, is_superuser=True), Client()
    client.force_login(ada)
    assert viewer_of_session(client.session.session_key) == EVERYTHING
    User.objects.update(is_staff=False)
    for session_key in (client.session.session_key, "unknown", "", None):
        with pytest.raises(AccessRefused):
            viewer_of_session(session_key)
