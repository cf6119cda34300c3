"""Forgets deliveries: their words as soon as the record may not keep what they were made of, the rest after a month."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from telemetry.models import BodyRow, Delivery, DigestSent, ErrorStreak, Incident, LastSaid, Target
from telemetry.models.notices import UNSETTLED
from telemetry.notices.notice import NoticeKind

KEPT = timedelta(days=30)
STREAK_KEPT = timedelta(days=1)
INCIDENT_KEPT = timedelta(days=400)
LAST_SAID_MAX = 100_000
BATCH_ROWS = 1000
MAX_BATCHES = 500


def clean_notices(now: datetime | None = None) -> int:
    """How many rows it has deleted."""
    now = now or timezone.now()
    _forget_words()
    settled = Delivery.objects.exclude(state__in=UNSETTLED)
    return (
        _deleted(settled.filter(settled_at__lt=now - KEPT))
        + _deleted(LastSaid.objects.filter(updated_at__lt=now - KEPT))
        + _deleted(_beyond(LAST_SAID_MAX))
        + _deleted(ErrorStreak.objects.filter(untold=0, told_at__lt=now - STREAK_KEPT))
        + _deleted(_unused_targets(now))
        + _deleted(Incident.objects.filter(resolved_at__lt=now - INCIDENT_KEPT))
        + _deleted(DigestSent.objects.filter(at__lt=now - KEPT))
    )


def _forget_words() -> None:
    """What a user said must not outlive the body in which it was found."""
    body = BodyRow.objects.filter(exchange_id=OuterRef("exchange_id"))
    said = Delivery.objects.filter(kind=NoticeKind.CONVERSATION).exclude(payload="").exclude(state__in=UNSETTLED)
    said.filter(~Exists(body)).update(payload="")


def _beyond(count: int) -> "QuerySet[Any]":
    """The conversations that were quiet for longest, where there are too many."""
    newest = LastSaid.objects.order_by("-updated_at").values_list("updated_at", flat=True)
    last = newest[count : count + 1].first()
    return LastSaid.objects.none() if last is None else LastSaid.objects.filter(updated_at__lte=last)


def _unused_targets(now: datetime) -> "QuerySet[Any]":
    return Target.objects.filter(failing_since=None, free_at__lt=now - KEPT)


def _deleted(rows: "QuerySet[Any]") -> int:
    total = 0
    for _ in range(MAX_BATCHES):
        with transaction.atomic():
            ids = list(rows.order_by().values_list("pk", flat=True)[:BATCH_ROWS])
            count = rows.model._default_manager.filter(pk__in=ids).delete()[0] if ids else 0
        total += count
        if len(ids) < BATCH_ROWS:
            break
    return total
