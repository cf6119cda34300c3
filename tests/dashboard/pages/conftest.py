"""Those who open pages: who sees everything, and a member of claude.example.com who may not see what was said."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from accounts.models import Domain, Membership


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    return client


@pytest.fixture
def ada(domain: Domain) -> Client:
    user = User.objects.create_user("ada", is_staff=True)
    Membership.objects.create(user=user, domain=domain)
    client = Client()
    client.force_login(user)
    return client
