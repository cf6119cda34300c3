"""What Celery does with the record. Each task reads its work from the database: a lost queue only delays it."""

import logging
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.db.models import Max
from django.utils import timezone

from accounts.ids import first_id_at
from accounts.models import touch_last_used
from accounts.oauth.refreshing import renew_due
from accounts.register import load
from telemetry.conf import RecordConf
from telemetry.credentials.rechecking import recheck
from telemetry.exports.sending import send
from telemetry.models import ExchangeRow
from telemetry.money import repricings, rollups, verification
from telemetry.notices.cleaning import clean_notices
from telemetry.notices.compose import compose
from telemetry.notices.digest import send_digests
from telemetry.notices.incidents import evaluate
from telemetry.notices.quiet import tell_held
from telemetry.notices.rules import RULES
from telemetry.notices.sending import Sending
from telemetry.notices.slack_bot import show_states
from telemetry.record.adoption import adopt
from telemetry.record.policies import Policies
from telemetry.record.retention import Freed, clean, clean_ledger, expired
from telemetry.record.shelf import Shelf
from telemetry.record.store import Store

logger = logging.getLogger(__name__)

ROLL_UP_SECONDS = 5
"""Of each run: without Redis one thread has all tasks to do."""
VERIFIED = timedelta(hours=48)
REPRICING_SECONDS = 5.0
REFRESH_BEFORE, REFRESHES, REFRESH_SECONDS = timedelta(minutes=5), 100, 15.0
"""Tokens that end within that time; in one run so many, begun within so many seconds."""
LOOK_BACK = timedelta(minutes=10)
"""Longer than a task is ever late; what is older is noted by the next use."""


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator] # Celery has no types
def note_last_use() -> int:
    """Writes when each client key was last used: at most once a minute, and never on a request's way."""
    recent = ExchangeRow.objects.filter(id__gte=first_id_at(timezone.now() - LOOK_BACK), client_key__isnull=False)
    uses = recent.values("client_key_id").annotate(at=Max("started_at")).values_list("client_key_id", "at")
    for key_id, at in uses.order_by("client_key_id"):
        touch_last_used(key_id, at)
    for key_id, at in uses.filter(by_previous_secret=True).order_by("client_key_id"):
        touch_last_used(key_id, at, "previous_used_at")
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
def watch() -> None:
    """Looks what is wrong. It may run many times at once, and nothing is told twice."""
    evaluate(RULES, timezone.now())


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def tell_on_time() -> None:
    """What the clock tells: what quiet hours have held back, the day's digest, and how incidents stand."""
    now = timezone.now()
    tell_held(now)
    send_digests(now)
    show_states(now)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def clean_record() -> None:
    """Deletes what has been kept long enough; what one run leaves, the next one takes."""
    freed = sum((clean(each) for each in expired()), Freed())
    clean_ledger()
    clean_notices()
    if freed:
        logger.info("retention freed %s", freed)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def roll_up() -> int:
    """Sums by the hour what was stored or changed."""
    return rollups.roll_up(seconds=ROLL_UP_SECONDS)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def verify_rollups() -> None:
    """Compares the sums of the last two days with the record, and repairs them. It should find nothing."""
    now = timezone.now()
    for hour in verification.hours_between(now - VERIFIED, now):
        if found := verification.check(hour):
            is_repaired = verification.repair(hour)
            logger.error(
                "%s sums were wrong, %s: %s", len(found), "repaired" if is_repaired else "not repaired", found[0]
            )


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def export() -> int:
    """Sends what waits for the telemetry endpoint."""
    return send(settings.EXPORT)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def continue_repricing() -> None:
    """Goes on with what was asked for in the admin, a few seconds at a time: others want to work too."""
    if repricings.go_on(seconds=REPRICING_SECONDS):
        continue_repricing.delay()


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def send_notices() -> None:
    """Finds words for what is new, and tells those who want to hear."""
    try:
        compose()
    finally:  # what has words already does not wait for what has none
        Sending().run()


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def refresh_tokens() -> int:
    """Before requests have to wait for it."""
    return renew_due(REFRESH_BEFORE, REFRESHES, REFRESH_SECONDS)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def recheck_credentials() -> int:
    """Asks again with credentials that are marked invalid."""
    return recheck()


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def pulse() -> None:
    """Nothing: that it ran, and how long it had waited, is noted as of every task (`telemetry.taskruns`)."""
