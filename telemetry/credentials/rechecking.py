"""Asks again with credentials that are marked invalid: what the API takes again comes back by itself."""

import time
from datetime import datetime, timedelta

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from accounts.models import CredentialStanding
from telemetry.credentials.checking import check_by_id

EVERY = timedelta(minutes=10)
RUN_MAX = 20
RUN_SECONDS = 5.0
"""After which a run begins no other check: without Redis one thread has all tasks to do."""


def recheck(seconds: float = RUN_SECONDS) -> int:
    """How many are taken again. Each is asked for by one of many workers, and no more than every ten minutes."""
    deadline = time.monotonic() + seconds
    taken = 0
    for standing in _due(timezone.now()).order_by(F("checked_at").asc(nulls_first=True))[:RUN_MAX]:
        if time.monotonic() >= deadline:
            break
        if not _is_ours(standing):
            continue
        found = check_by_id(standing.credential_id)
        taken += found is not None and found.is_ok
        if found is not None and found.was_asked and found.status is None:
            break  # nobody answers: the next one would wait as long
    return taken


def _due(now: datetime) -> "QuerySet[CredentialStanding]":
    """A new token is asked with at once."""
    is_time = Q(checked_at__isnull=True) | Q(checked_at__lte=now - EVERY)
    is_renewed = Q(credential__token__refreshed_at__gt=F("checked_at"))
    return CredentialStanding.objects.filter(
        is_time | is_renewed, invalid_since__isnull=False, credential__is_active=True
    )


def _is_ours(standing: CredentialStanding) -> bool:
    same = CredentialStanding.objects.filter(credential_id=standing.credential_id, checked_at=standing.checked_at)
    return bool(same.update(checked_at=timezone.now()))
