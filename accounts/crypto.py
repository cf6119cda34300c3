"""Encryption of secrets at rest: MultiFernet, and a model field that fails loudly on a wrong key.

The field decrypts when it is read, not when its row is loaded: a row whose secret cannot be read can still be listed,
renamed, given a new secret and deleted. It never returns ciphertext: reading an unreadable secret raises.
"""

import functools
from dataclasses import dataclass
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.models.query_utils import DeferredAttribute

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


def key_position(stored: str) -> int | None:
    """Which of NEXUS_ENCRYPTION_KEYS it was written with, from 0; None: with none of them."""
    for position, key in enumerate(_keys(settings.NEXUS_ENCRYPTION_KEYS)):
        try:
            Fernet(key).decrypt(stored.removeprefix(VERSION).encode())
        except InvalidToken:
            continue
        return position
    return None


def key_count() -> int:
    return len(_keys(settings.NEXUS_ENCRYPTION_KEYS))


def rewritten(stored: str) -> str:
    """The same with the first key. Raises WrongEncryptionKey."""
    return encrypt(decrypt(stored))


def _keys(keys: str) -> list[str]:
    return [key.strip() for key in keys.split(",") if key.strip()]


@functools.lru_cache(maxsize=8)
def _fernet(keys: str) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in _keys(keys)])
    except ValueError:
        raise ImproperlyConfigured(
            "NEXUS_ENCRYPTION_KEYS: each key is 32 bytes in URL-safe base64, as "
            "`nexus generate-secret NEXUS_ENCRYPTION_KEYS` makes them."
        ) from None


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret as the database holds it."""

    text: str

    def open(self) -> str:
        """Raises WrongEncryptionKey."""
        return decrypt(self.text)


class OpenedWhenRead(DeferredAttribute):
    def __get__(self, instance: Any, cls: Any = None) -> Any:
        if instance is None:
            return self
        name = self.field.attname
        value = instance.__dict__.get(name) or super().__get__(instance, cls)
        if isinstance(value, Sealed):
            value = instance.__dict__[name] = value.open()
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


class EncryptedTextField(models.TextField):
    """Text that the database sees only encrypted. It cannot be searched or ordered by; `values_list` gives it sealed,
    and forms get nothing at all."""

    descriptor_class = OpenedWhenRead

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Sealed | None:
        return None if value is None else Sealed(value)

    def get_prep_value(self, value: Any) -> Any:
        if value is None or isinstance(value, Sealed):
            return value and value.text
        return encrypt(str(value))

    def value_from_object(self, obj: models.Model) -> Any:
        return ""

    def get_lookup(self, lookup_name: str) -> Any:
        return super().get_lookup(lookup_name) if lookup_name == "isnull" else None


def is_sealed(row: models.Model, name: str) -> bool:
    """The secret of this row was neither read nor set since it was loaded."""
    return name not in row.__dict__ or isinstance(row.__dict__[name], Sealed)
