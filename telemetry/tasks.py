"""What Celery does with the record. Each task reads its work from the database: a lost queue only delays it."""

import logging
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.db.models import Max
from django.utils import timezone

from accounts.ids import first_id_at
from accounts.models import touch_last_used
from accounts.register import load
from telemetry.conf import RecordConf
from telemetry.models import ExchangeRow
from telemetry.record.adoption import adopt
from telemetry.record.policies import Policies
from telemetry.record.retention import Freed, clean, clean_ledger, expired
from telemetry.record.shelf import Shelf
from telemetry.record.store import Store

logger = logging.getLogger(__name__)

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


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def adopt_spools() -> int:
    """For a machine whose web processes are all gone: what they left behind is stored without them."""
    conf: RecordConf = settings.RECORD
    if conf.spool is None:
        return 0
    snapshot = load()
    return len(adopt(conf.spool.root, Store(Shelf(Policies(lambda: snapshot).of))))


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def clean_record() -> None:
    """Deletes what has been kept long enough; what one run leaves, the next one takes."""
    freed = sum((clean(each) for each in expired()), Freed())
    clean_ledger()
    if freed:
        logger.info("retention freed %s", freed)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def pulse() -> None:
    """Nothing: that it ran, and how long it had waited, is noted as of every task (`telemetry.taskruns`)."""
