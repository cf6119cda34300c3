"""Those who look: a script with the dashboard's key, and a member of claude.example.com without further rights."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import Settings

from accounts.ids import new_id
from accounts.models import Domain, Membership
from dashboard.collectors import COLLECTORS

FAKE_KEY = "fake-dashboard-key-0001"


@pytest.fixture(autouse=True)
def fresh_counts(settings: Settings) -> None:
    """Wrong keys are counted for each test alone."""
    settings.RATELIMIT_CACHE_PREFIX = f"test-{new_id()}:"


@pytest.fixture(autouse=True)
def asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test was told must not be what the next one hears."""
    for asked in COLLECTORS:
        monkeypatch.setattr(asked, "kept_seconds", 0.0)


@pytest.fixture
def script(settings: Settings, db: None) -> Client:
    settings.DASHBOARD_API_KEY = FAKE_KEY
    return Client(headers={"X-Dashboard-Key": FAKE_KEY})


@pytest.fixture
def member(domain: Domain) -> User:
    user = User.objects.create_user("grace", is_staff=True)
    Membership.objects.create(user=user, domain=domain)
    return user


@pytest.fixture
def console(member: User) -> Client:
    """The member's browser."""
    client = Client()
    client.force_login(member)
    return client


@pytest.fixture
def reader(member: User, console: Client) -> Client:
    """The same member with the permission to see bodies."""
    member.user_permissions.add(Permission.objects.get(codename="view_bodyrow"))
    return console
