"""Personal keys: a person's scripts see what the person sees."""

import re

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from pytest_django import Settings

from accounts.ids import new_id
from accounts.models import PERSONAL_KEY_START, Domain, Membership, PersonalKey
from accounts.personalkeys import KEYS_MAX
from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db
PAGE = "/dashboard/personal-keys"


@pytest.fixture(autouse=True)
def fresh_counts(settings: Settings) -> None:
    settings.RATELIMIT_CACHE_PREFIX = f"test-{new_id()}:"


@pytest.fixture
def ada(domain: Domain) -> User:
    user = User.objects.create_user("ada", is_staff=True)
    Membership.objects.create(user=user, domain=domain)
    return user


@pytest.fixture
def browser(ada: User) -> Client:
    client = Client()
    client.force_login(ada)
    return client


def made(browser: Client, name: str = "nightly report") -> str:
    page = browser.post(PAGE, {"name": name}).content.decode()
    (secret,) = re.findall(rf"{PERSONAL_KEY_START}[\w-]{{43}}", page)
    return str(secret)


def ask(secret: str) -> tuple[int, str]:
    answer = Client(headers={"X-Dashboard-Key": secret}).get("/api/requests")
    return answer.status_code, answer.content.decode()


def test_it_is_shown_once_and_sees_what_its_owner_sees(browser: Client, domain: Domain, other_domain: Domain) -> None:
    mine, theirs = (stored_exchange(domain_id=each.id) for each in (domain, other_domain))
    secret = made(browser)
    status, found = ask(secret)
    assert (status, str(mine.id) in found, str(theirs.id) in found) == (200, True, False)
    page = browser.get(PAGE).content.decode()
    assert secret not in page + str([each.get_decoded() for each in Session.objects.all()])
    assert f"…{secret[-4:]}" in page
    key = PersonalKey.objects.get()
    assert secret not in str(vars(key))
    assert key.last_used_at is not None


def test_it_calls_nothing_and_opens_no_console(browser: Client) -> None:
    secret = made(browser)
    assert Client(headers={"X-Dashboard-Key": secret}).get("/admin/").status_code == 302
    assert Client(headers={"X-Dashboard-Key": secret}).get(PAGE).status_code == 302, "a key makes no keys"


def test_it_opens_a_session_without_the_dashboards_key(browser: Client, settings: Settings) -> None:
    settings.DASHBOARD_API_KEY = ""
    secret, client = made(browser), Client()
    assert client.post("/dashboard/login", {"key": secret}).headers["Location"] == "/dashboard/"
    assert client.get("/dashboard/").status_code == 200
    assert secret not in str(dict(client.session))
    PersonalKey.objects.get().revoke()
    assert client.get("/dashboard/").status_code == 302
    assert "is revoked" in Client().post("/dashboard/login", {"key": secret}).content.decode()


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}])
def test_it_ends_with_its_owner(browser: Client, change: dict[str, bool]) -> None:
    secret = made(browser)
    User.objects.filter(username="ada").update(**change)
    assert ask(secret)[0] == 401


def test_its_owner_alone_revokes_it(browser: Client) -> None:
    secret, key = made(browser), PersonalKey.objects.get()
    other = Client()
    other.force_login(User.objects.create_superuser("eve"))
    for wrong in (str(key.pk), str(new_id()), "x", ""):
        assert other.post(PAGE, {"revoke": wrong}).status_code == 404
    assert ask(secret)[0] == 200
    assert browser.post(PAGE, {"revoke": str(key.pk)}).status_code == 302
    assert ask(secret)[0] == 401


@pytest.mark.parametrize("name", ["", "  ", "a\0b"])
def test_it_needs_a_name(browser: Client, name: str) -> None:
    assert "Give the key a name" in browser.post(PAGE, {"name": name}).content.decode()
    assert not PersonalKey.objects.exists()


def test_there_are_only_so_many(browser: Client) -> None:
    for _ in range(KEYS_MAX):
        made(browser, "<script>alert(1)</script>")
    page = browser.post(PAGE, {"name": "one more"})
    assert (page.status_code, b"<script>alert" in page.content) == (400, False)
    assert PersonalKey.objects.count() == KEYS_MAX


def test_it_cannot_be_guessed(ada: User) -> None:
    for _ in range(30):
        assert ask(PERSONAL_KEY_START + "x" * 43)[0] == 401
    assert ask(PERSONAL_KEY_START + "x" * 43)[0] == 429


def test_other_sites_make_none(ada: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    assert client.post(PAGE, {"name": "x"}).status_code == 403
    assert Client().get(PAGE).headers["Location"].startswith("/admin/login/")
