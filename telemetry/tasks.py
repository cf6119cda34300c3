"""What Celery does with the record. Each task reads its work from the database: a lost queue only delays it."""

from datetime import timedelta

from celery import shared_task
from django.db.models import Max
from django.utils import timezone

from accounts.ids import first_id_at
from accounts.models import touch_last_used
from telemetry.models import ExchangeRow

LOOK_BACK = timedelta(minutes=10)
"""Longer than a task is ever late; what is older is noted by the next use."""


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator] # Celery has no types
def note_last_use() -> int:
    """Writes when each client key was last used: at most once a minute, and never on a request's way."""
    recent = ExchangeRow.objects.filter(id__gte=first_id_at(timezone.now() - LOOK_BACK), client_key__isnull=False)
    uses = recent.values("client_key_id").annotate(at=Max("started_at")).values_list("client_key_id", "at")
    for key_id, at in uses.order_by("client_key_id"):
        touch_last_used(key_id, at)
    return len(uses)
