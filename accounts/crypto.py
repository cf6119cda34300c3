"""Encryption of secrets at rest: MultiFernet, and a model field that fails loudly on a wrong key.

The field decrypts when a row is loaded and never returns ciphertext: an unreadable value raises.
"""

import functools
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models

VERSION = "v1:"


class WrongEncryptionKey(ImproperlyConfigured):
    """A stored secret cannot be read with the keys in NEXUS_ENCRYPTION_KEYS."""


def encrypt(plain: str) -> str:
    return VERSION + _fernet(settings.NEXUS_ENCRYPTION_KEYS).encrypt(plain.encode()).decode()


def decrypt(stored: str) -> str:
    """Raises WrongEncryptionKey; neither the text nor the exception ever holds a part of the secret."""
    if not stored.startswith(VERSION):
        raise WrongEncryptionKey("A stored secret has no known format; was the row changed by hand?")
    try:
        return _fernet(settings.NEXUS_ENCRYPTION_KEYS).decrypt(stored[len(VERSION) :].encode()).decode()
    except InvalidToken:
        raise WrongEncryptionKey(
            "A stored secret cannot be read with NEXUS_ENCRYPTION_KEYS. Add the key it was written with "
            "to the end of the list."
        ) from None


@functools.lru_cache(maxsize=8)
def _fernet(keys: str) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key.strip()) for key in keys.split(",") if key.strip()])
    except ValueError:
        raise ImproperlyConfigured(
            "NEXUS_ENCRYPTION_KEYS: each key is 32 bytes in URL-safe base64, as "
            "`nexus generate-secret NEXUS_ENCRYPTION_KEYS` makes them."
        ) from None


class EncryptedTextField(models.TextField):
    """Text that the database sees only encrypted. It cannot be searched or ordered by."""

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        return None if value is None else decrypt(value)

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else encrypt(str(value))

    def get_lookup(self, lookup_name: str) -> Any:
        return super().get_lookup(lookup_name) if lookup_name == "isnull" else None
