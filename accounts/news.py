"""Announces every change of the register, so that each process loads it anew within two seconds."""

from typing import Any

from django.db.models.signals import m2m_changed, post_delete, post_save

from accounts.models import Budget, ClientKey, Credential, Domain, Installation, RateLimit


def connect() -> None:
    for model in (Domain, ClientKey, Credential, RateLimit, Budget):
        post_save.connect(_announce, sender=model)
        post_delete.connect(_announce, sender=model)
    m2m_changed.connect(_announce, sender=Credential.shared_with.through)


def _announce(**_: Any) -> None:
    Installation.announce_change()
