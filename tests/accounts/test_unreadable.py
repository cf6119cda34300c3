"""What operations staff can still do while a credential cannot be read: they are the ones who have to mend it."""

import pytest
from cryptography.fernet import Fernet
from django.test import Client
from pytest_django import Settings

from accounts.models import Credential, Domain
from tests.conftest import FAKE_API_KEY, POOLED

pytestmark = pytest.mark.django_db
ADMIN = "/admin/accounts/"
NEW_SECRET = "sk-ant-api03-fake-credential-0002"


@pytest.fixture
def unreadable(credential: Credential, settings: Settings) -> Credential:
    """Written with a key that is lost; the pepper is not, as in an installation whose pepper was mended."""
    kept = settings.NEXUS_ENCRYPTION_KEYS
    settings.NEXUS_ENCRYPTION_KEYS = Fernet.generate_key().decode()
    Credential.objects.filter(id=credential.id).update(secret=FAKE_API_KEY)
    settings.NEXUS_ENCRYPTION_KEYS = kept
    return credential


@pytest.mark.parametrize("page", ["", "domain/", "clientkey/", "credential/", "credential/add/"])
def test_the_pages_open(admin_client: Client, unreadable: Credential, page: str) -> None:
    assert admin_client.get(f"{ADMIN}{page}").status_code == 200


def test_its_own_page_opens(admin_client: Client, unreadable: Credential) -> None:
    assert admin_client.get(f"{ADMIN}credential/{unreadable.id}/change/").status_code == 200


def test_it_can_be_given_a_new_secret(admin_client: Client, unreadable: Credential) -> None:
    form = {"domain": str(unreadable.domain_id), "name": "main", "kind": "api_key", "priority": "0", **POOLED}
    admin_client.post(f"{ADMIN}credential/{unreadable.id}/change/", form | {"secret": NEW_SECRET})
    assert Credential.objects.get().secret == NEW_SECRET


def test_it_can_be_deleted(admin_client: Client, unreadable: Credential) -> None:
    admin_client.post(f"{ADMIN}credential/{unreadable.id}/delete/", {"post": "yes"})
    assert not Credential.objects.exists()


def test_its_domain_can_be_deleted(admin_client: Client, unreadable: Credential) -> None:
    admin_client.post(f"{ADMIN}domain/{unreadable.domain_id}/delete/", {"post": "yes"})
    assert not Domain.objects.exists()
