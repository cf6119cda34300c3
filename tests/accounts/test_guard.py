"""What people type into is guarded against guessing, and nobody pays for what others do."""

from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from types import SimpleNamespace

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client, RequestFactory
from pytest_django import Settings

from accounts.guard import address_of, is_exhausted

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # each try costs as little as it can
    cache.clear()
    # Its windows begin at fixed moments: here none does in the middle of a test.
    monkeypatch.setattr("django_ratelimit.core.time", SimpleNamespace(time=lambda: 1_800_000_000.0))


def tries(name: str, password: str, count: int, addresses: int = 1) -> list[int]:
    form = {"username": name, "password": password}
    return [
        Client().post("/admin/login/", form, REMOTE_ADDR=f"203.0.113.{number % addresses}").status_code
        for number in range(count)
    ]


def test_an_address_may_try_ten_times_a_minute(db: None) -> None:
    assert tries("ada", "wrong", 11) == [200] * 10 + [429]


def test_a_name_may_be_tried_thirty_times_a_minute_from_wherever(admin_user: User) -> None:
    assert tries("admin", "wrong", 31, addresses=30) == [200] * 30 + [429]
    assert tries("Admin", "wrong", 1) == [429]
    assert tries("grace", "wrong", 1, addresses=1) == [200]


def test_who_signs_in_well_does_not_use_up_the_name(admin_user: User) -> None:
    assert tries("admin", "password", 40, addresses=40) == [302] * 40


def test_what_a_client_says_of_its_address_is_not_believed(settings: Settings) -> None:
    """Also not where its request ids are: the server has looked who it is already."""
    settings.TRUSTED_PEERS = (ip_network("10.0.0.0/8"),)
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", headers={"X-Forwarded-For": "198.51.100.1"})
    assert address_of(request) == "10.0.0.1"


def test_twenty_at_once_get_no_more_than_ten_through() -> None:
    request = RequestFactory().get("/")

    def one(_: int) -> bool:
        return is_exhausted(request, "test", "10/m", "somebody", counts=True)

    with ThreadPoolExecutor(20) as pool:
        assert sorted(pool.map(one, range(20))) == [False] * 10 + [True] * 10


@pytest.mark.anyio
async def test_async_code_asks_through_a_thread() -> None:
    request = RequestFactory().get("/")
    ask = sync_to_async(is_exhausted)
    said = [await ask(request, "test-async", "2/m", "somebody", counts=True) for _ in range(3)]
    assert said == [False, False, True]


def test_without_its_cache_each_process_counts_for_itself(settings: Settings) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1",
            "OPTIONS": {"socket_connect_timeout": 0.2},
        }
    }
    request = RequestFactory().get("/")
    said = [is_exhausted(request, "test-away", "2/d", "somebody", counts=True) for _ in range(3)]
    assert said == [False, False, True]
    assert is_exhausted(request, "test-away", "2/d", "somebody", counts=False)
    assert not is_exhausted(request, "test-away", "2/d", "somebody else", counts=False)


def test_a_script_gone_wild_is_held_up_and_others_are_not(
    settings: Settings, admin_client: Client, client: Client
) -> None:
    settings.DASHBOARD_RATE, settings.DASHBOARD_API_KEY = "3/m", "a-fake-dashboard-key"
    answers = [admin_client.get("/api/requests") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3]["Retry-After"] == "60"
    assert "DASHBOARD_RATE" in answers[3].json()["error"]
    assert client.get("/api/requests", headers={"X-Dashboard-Key": "a-fake-dashboard-key"}).status_code == 200
