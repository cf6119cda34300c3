import traceback

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from accounts.crypto import WrongEncryptionKey, decrypt, encrypt
from accounts.models import Credential
from tests.conftest import FAKE_API_KEY


def new_key() -> str:
    return Fernet.generate_key().decode()


def set_stored(credential: Credential, stored: str) -> None:
    """Changes the row by hand, past the model."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_credential SET secret = %s", [stored])


def stored_secret() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM accounts_credential")
        return str(cursor.fetchone()[0])


@given(st.text())
def test_what_was_encrypted_can_be_read(plain: str) -> None:
    assert decrypt(encrypt(plain)) == plain


def test_the_same_secret_never_looks_the_same() -> None:
    assert encrypt("secret") != encrypt("secret")


def test_the_database_holds_only_ciphertext(credential: Credential) -> None:
    assert stored_secret().startswith("v1:")
    assert FAKE_API_KEY not in stored_secret()
    assert Credential.objects.get().secret == FAKE_API_KEY


def test_a_new_first_key_reads_what_the_old_one_wrote(settings: Settings) -> None:
    old, new = new_key(), new_key()
    settings.NEXUS_ENCRYPTION_KEYS = old
    stored = encrypt("secret")
    settings.NEXUS_ENCRYPTION_KEYS = f"{new}, {old}"
    assert decrypt(stored) == "secret"
    rewritten = encrypt("secret")
    settings.NEXUS_ENCRYPTION_KEYS = new
    assert decrypt(rewritten) == "secret"
    with pytest.raises(WrongEncryptionKey):
        decrypt(stored)


def test_a_wrong_key_raises_and_tells_nothing(settings: Settings) -> None:
    stored = encrypt(FAKE_API_KEY)
    settings.NEXUS_ENCRYPTION_KEYS = key = new_key()
    with pytest.raises(WrongEncryptionKey, match="NEXUS_ENCRYPTION_KEYS") as raised:
        decrypt(stored)
    told = f"{raised.value!r}{''.join(traceback.format_exception(raised.value))}"
    for secret in (FAKE_API_KEY, stored, key):
        assert secret not in told


def test_a_secret_is_not_read_with_a_wrong_key(credential: Credential, settings: Settings) -> None:
    settings.NEXUS_ENCRYPTION_KEYS = new_key()
    with pytest.raises(WrongEncryptionKey):
        _ = Credential.objects.get().secret


@pytest.mark.parametrize("change", [lambda stored: FAKE_API_KEY, lambda stored: stored[3:], lambda stored: ""])
def test_a_row_changed_by_hand_is_refused(credential: Credential, change: "object") -> None:
    assert callable(change)
    set_stored(credential, change(stored_secret()))
    with pytest.raises(WrongEncryptionKey, match="changed by hand") as raised:
        _ = Credential.objects.get().secret
    assert FAKE_API_KEY not in f"{raised.value!r}"


@pytest.mark.parametrize("position", [10, 40, -20])
def test_a_changed_character_is_refused(credential: Credential, position: int) -> None:
    stored = list(stored_secret())
    stored[position] = "A" if stored[position] != "A" else "B"
    set_stored(credential, "".join(stored))
    with pytest.raises(WrongEncryptionKey):
        _ = Credential.objects.get().secret


def test_a_secret_cannot_be_searched_for(credential: Credential) -> None:
    with pytest.raises(FieldError):
        Credential.objects.filter(secret=FAKE_API_KEY).exists()
    assert not Credential.objects.filter(secret__isnull=True).exists()


@pytest.mark.parametrize("keys", ["", " , ", "too-short", "schlüssel" * 5, f"{'A' * 43}=,hello"])
def test_keys_that_are_none_are_refused_in_a_sentence(settings: Settings, keys: str) -> None:
    settings.NEXUS_ENCRYPTION_KEYS = keys
    with pytest.raises(ImproperlyConfigured, match="generate-secret NEXUS_ENCRYPTION_KEYS") as raised:
        encrypt("secret")
    assert not keys.strip(" ,") or keys not in str(raised.value)
