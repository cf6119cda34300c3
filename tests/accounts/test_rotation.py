"""Every stored secret comes to the first key, and no key that is still needed is called unneeded."""

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from pytest_django import Settings

from accounts import rotation
from accounts.crypto import EncryptedTextField
from accounts.models import Credential, Domain, Installation, OAuthToken
from tests.conftest import FAKE_API_KEY

pytestmark = pytest.mark.django_db
NEW_SECRET = "sk-ant-api03-fake-credential-0002"


def key() -> str:
    return Fernet.generate_key().decode()


@pytest.fixture
def token(domain: Domain, credential: Credential) -> OAuthToken:
    row = Credential.objects.create(domain=domain, name="renews", owner="Grace", kind="oauth")
    return OAuthToken.objects.create(credential=row, access_token="fake-access", refresh_token="fake-refresh")


def test_it_finds_every_encrypted_field_of_every_model() -> None:
    found = {f"{model.__name__}.{name}" for model, name in rotation.fields()}
    assert {"Credential.secret", "OAuthToken.access_token", "OAuthToken.refresh_token", "Installation.pepper"} <= found
    assert {"SlackSettings.webhook_url", "Webhook.secret"} <= found


def test_all_come_to_the_first_key(token: OAuthToken, settings: Settings) -> None:
    old = settings.NEXUS_ENCRYPTION_KEYS
    new = settings.NEXUS_ENCRYPTION_KEYS = f"{key()},{old}"
    before = rotation.survey()
    assert (before.by_position[0], before.is_done) == (0, False)
    assert any("Keep it" in line for line in before.lines())
    generation = Installation.current().generation
    assert rotation.rotate() == before.total
    after = rotation.survey()
    assert (after.by_position[0], after.is_done) == (before.total, True)
    assert any("It may go" in line for line in after.lines())
    assert Installation.current().generation > generation
    assert rotation.rotate() == 0
    settings.NEXUS_ENCRYPTION_KEYS = new.split(",")[0]
    rotation.check_readable()
    assert Credential.objects.exclude(secret__isnull=True).get().secret == FAKE_API_KEY
    assert OAuthToken.objects.get().refresh_token == "fake-refresh"


def test_it_goes_on_where_it_was_stopped(token: OAuthToken, settings: Settings) -> None:
    settings.NEXUS_ENCRYPTION_KEYS = f"{key()},{settings.NEXUS_ENCRYPTION_KEYS}"
    total = rotation.survey().total

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotation.rotate(stop)
    assert rotation.survey().by_position[0] == 1
    assert rotation.rotate() == total - 1


def test_what_was_changed_meanwhile_is_left_alone(credential: Credential, settings: Settings) -> None:
    settings.NEXUS_ENCRYPTION_KEYS = f"{key()},{settings.NEXUS_ENCRYPTION_KEYS}"
    text = next(each for each in rotation.texts() if each.model is Credential)
    credential.secret = NEW_SECRET
    credential.save()
    assert rotation._replace(text, "v1:older") == 0
    assert Credential.objects.get().secret == NEW_SECRET


def test_a_key_that_is_still_needed_cannot_be_dropped(credential: Credential, settings: Settings) -> None:
    settings.NEXUS_ENCRYPTION_KEYS = key()
    with pytest.raises(ImproperlyConfigured, match="Credential") as raised:
        rotation.check_readable()
    assert FAKE_API_KEY not in str(raised.value)
    assert "ALLOW_UNREADABLE_SECRETS" in str(raised.value)
    found = rotation.survey()
    assert not found.is_done
    assert any("none of the keys" in line for line in found.lines())
    assert rotation.rotate() == 0


def test_a_text_of_ours_is_never_empty_by_accident(credential: Credential) -> None:
    assert isinstance(Credential._meta.get_field("secret"), EncryptedTextField)
    assert models.QuerySet(Credential).filter(secret__isnull=False).count() == 1
