"""Marks what was found out about a credential, once however many find it out, and tells the running processes.

Sync, over the ORM: the hot path calls it in a thread."""

from typing import Any
from uuid import UUID

from django.db import models, transaction
from django.utils import timezone

from accounts.models import Credential, CredentialStanding, Installation

REASON_MAX = 300


def mark_invalid(credential_id: UUID, reason: str) -> bool:
    """The API refuses it. True if that was not known before; the first reason stays."""
    now = timezone.now()
    with transaction.atomic():
        is_new = models.Q(invalid_since__isnull=True)
        marked = _change(credential_id, is_new, invalid_since=now, invalid_reason=reason[:REASON_MAX])
        return _announced(marked)


def mark_valid(credential_id: UUID) -> bool:
    """The API takes it again. True if it was marked invalid."""
    with transaction.atomic():
        rows = CredentialStanding.objects.filter(credential_id=credential_id, invalid_since__isnull=False)
        return _announced(bool(rows.update(invalid_since=None, invalid_reason="")))


def roll_back(credential_id: UUID, reason: str) -> bool:
    """Takes its share of the traffic of the credential that it replaces. True if it had one."""
    # not through its own manager, which announces a change also where there is none
    replacing: models.QuerySet[Credential] = models.QuerySet(Credential).filter(
        id=credential_id, replaces__isnull=False, traffic_percent__gt=0
    )
    with transaction.atomic():
        if not replacing.update(traffic_percent=0):
            return False
        stamp = {"rolled_back_at": timezone.now(), "rolled_back_reason": reason[:REASON_MAX]}
        _change(credential_id, models.Q(), **stamp)
        return _announced(True)


def note(credential_id: UUID, **values: Any) -> None:
    """Bookkeeping that the hot path does not go by: nobody has to hear of it."""
    _change(credential_id, models.Q(), **values)


def _change(credential_id: UUID, where: models.Q, **values: Any) -> bool:
    """Changes its row where that is so: of many who do it at once, one gets it done."""
    _have_a_row(credential_id)
    return bool(CredentialStanding.objects.filter(where, credential_id=credential_id).update(**values))


def _have_a_row(credential_id: UUID) -> None:
    """Not for a credential that was deleted meanwhile."""
    if CredentialStanding.objects.filter(credential_id=credential_id).exists():
        return
    if Credential.objects.filter(id=credential_id).exists():
        CredentialStanding.objects.bulk_create([CredentialStanding(credential_id=credential_id)], ignore_conflicts=True)


def _announced(changed: bool) -> bool:
    if changed:
        Installation.announce_change()
    return changed
