"""One credential takes the place of another: a small share of the sessions first, then all, then its place."""

import logging
from uuid import UUID

from django.db import models, transaction

from accounts.models import Credential, Installation
from telemetry.credentials import marking, reading

logger = logging.getLogger(__name__)

STAGES = (5, 25, 50, 100)
"""Percent of the sessions that would use the replaced one."""
BY_HAND = "An operator has taken it back."


def give_share(credential_id: UUID, percent: int) -> bool:
    """False: it replaces none. What was rolled back before is forgotten."""
    with transaction.atomic():
        if not _replacing(credential_id).update(traffic_percent=percent):
            return False
        marking.note(credential_id, rolled_back_at=None, rolled_back_reason="")
        Installation.announce_change()
    return True


def take_back(credential_id: UUID) -> bool:
    """False: it had no share. Nobody is told of what an operator did."""
    if not marking.roll_back(credential_id, BY_HAND):
        return False
    marking.note(credential_id, rolled_back_at=None, rolled_back_reason="")
    return True


def finish(credential_id: UUID) -> Credential | None:
    """Switches the replaced one off; this one has its place from then on, in all domains that used it. None: it
    replaces none. Of two who do it at once, one gets it done."""
    with transaction.atomic():
        row = _all().select_related("replaces").filter(id=credential_id).first()
        old = row.replaces if row else None
        if row is None or old is None:
            return None
        place = {"priority": old.priority, "is_standby": old.is_standby, "weight": old.weight}
        if not _replacing(credential_id).filter(replaces=old).update(replaces=None, traffic_percent=100, **place):
            return None
        _all().filter(id=old.id).update(is_active=False)
        _all().filter(replaces=old).exclude(id=row.id).update(traffic_percent=0)
        row.shared_with.add(*old.shared_with.all())
        Installation.announce_change()
    return old


def has_a_new_secret(credential_id: UUID) -> None:
    """What was found out of the one before is no longer so."""
    marking.mark_valid(credential_id)
    try:
        reading.reset(str(credential_id))
    except reading.NotReached as error:
        logger.warning("the circuit of credential %s could not be reset: %s", credential_id, error)


def _replacing(credential_id: UUID) -> "models.QuerySet[Credential]":
    return _all().filter(id=credential_id, replaces__isnull=False)


def _all() -> "models.QuerySet[Credential]":
    """Not through its own manager, which announces each step: here they are announced together."""
    return models.QuerySet(Credential)
