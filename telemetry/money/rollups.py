"""The record in sums by the hour: made anew from the exchanges wherever something changed (docs/rollups.md)."""

import logging
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.db import DatabaseError, connection, transaction
from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from accounts.ids import new_id
from telemetry.models import HourMark, HourRow, HourState
from telemetry.money.days import sum_day
from telemetry.money.marks import Hour, hour_of
from telemetry.money.sums import COLUMNS, REPLACE, Row, of_domain, rows_of
from telemetry.record.insert import insert

REST = 10
"""So many times as long as it took to sum an hour, it is left alone."""
STATE_COLUMNS = ("id", "hour", "domain_id", "stamp", "due_at", "is_final")
FINAL = '("id") DO UPDATE SET "stamp" = EXCLUDED."stamp", "is_final" = EXCLUDED."is_final"'
FAULTS = (DatabaseError, ArithmeticError)
logger = logging.getLogger(__name__)


def roll_up(limit: int = 1000, seconds: float = 60, *, at_once: bool = False) -> int:
    """Sums the hours that are marked, at most *limit* of them and for no longer than *seconds*: first those that never
    were, from the newest on, then those that were so longest ago. How many. *at_once*: also those not due yet. An hour
    that cannot be summed holds up no other; its error is raised in the end."""
    deadline = time.monotonic() + seconds
    count, failure = 0, None
    for hour in _marked(limit, at_once=at_once):
        try:
            count += roll_up_hour(hour)
        except FAULTS as error:
            failure = _told_of(hour, error)
        if time.monotonic() > deadline:
            break
    if failure is not None:
        raise failure
    return count


def roll_up_until(domain_id: UUID | None, before: datetime) -> None:
    """Sums what is marked of a domain's hours that begin before that moment. One that cannot be summed stays marked."""
    marks = HourMark.objects.filter(of_domain(domain_id), hour__lt=before)
    for start in list(marks.order_by("hour").values_list("hour", flat=True).distinct()):
        try:
            roll_up_hour(hour := Hour(start, domain_id))
        except FAULTS as error:
            _told_of(hour, error)


def roll_up_hour(hour: Hour) -> bool:
    """Whether its sums were made anew. They are not where they are final, or where somebody else was quicker: whose
    sums are newer then, or the marks are still there for the next run.

    The order is what makes it right: marks, then state, then exchanges are read; the sums are written if the state is
    still the same; and of the marks those go that are still the same.
    """
    marks = list(HourMark.objects.filter(state_id=hour.id).values_list("id", "stamp"))
    state = HourState.objects.filter(id=hour.id).first()
    if state is not None and state.is_final:
        logger.warning("hour %s: its exchanges were cleaned; what is stored or changed since is not in its sums", hour)
        _unmark(marks)
        return False
    started = time.monotonic()
    rows = rows_of(hour)
    due_at = timezone.now() + timedelta(seconds=REST * (time.monotonic() - started))
    with transaction.atomic():
        if not _claimed(hour, state, due_at):
            return False
        _replace(hour, rows)
    _unmark(marks)
    return True


def make_final(exchanges: Iterable[tuple[UUID, UUID | None]]) -> list[UUID]:
    """For exchanges (id, id of the domain) that are to be deleted, in that transaction: which may be. Their hours are
    not summed again. Those of an hour that has still to be summed may not."""
    found = [(exchange_id, Hour(hour_of(exchange_id), domain_id)) for exchange_id, domain_id in exchanges]
    ids = {hour.id for _, hour in found}
    marked = set(HourMark.objects.filter(state_id__in=ids).values_list("state_id", flat=True))
    final = set(HourState.objects.filter(id__in=ids, is_final=True).values_list("id", flat=True))
    new = {hour for _, hour in found if hour.id not in marked | final}
    stamp, now = new_id(), timezone.now()
    insert(HourState, STATE_COLUMNS, sorted((hour.id, *hour, stamp, now, True) for hour in new), FINAL)
    return [exchange_id for exchange_id, hour in found if hour.id not in marked]


def _marked(limit: int, *, at_once: bool) -> list[Hour]:
    state = HourState.objects.filter(id=OuterRef("state_id"))
    marks = HourMark.objects.annotate(due_at=Subquery(state.values("due_at")))
    if not at_once:
        marks = marks.filter(Q(due_at=None) | Q(due_at__lte=timezone.now()))
    hours = marks.order_by(F("due_at").asc(nulls_first=True), "-hour", "state_id")
    found = hours.values_list("hour", "domain_id", "due_at", "state_id").distinct()[:limit]
    return [Hour(start, domain_id) for start, domain_id, *_ in found]


def _claimed(hour: Hour, state: HourState | None, due_at: datetime) -> bool:
    """Whether nobody wrote these sums since the state was read, which was before the exchanges were."""
    stamp = new_id()
    if state is None:
        return insert(HourState, STATE_COLUMNS, [(hour.id, *hour, stamp, due_at, False)]) == 1
    unchanged = HourState.objects.filter(id=hour.id, stamp=state.stamp, is_final=False)
    return unchanged.update(stamp=stamp, due_at=due_at) == 1


def _replace(hour: Hour, rows: list[Row]) -> None:
    gone = HourRow.objects.filter(of_domain(hour.domain_id), hour=hour.start).exclude(id__in=[row[0] for row in rows])
    _delete(gone)
    insert(HourRow, COLUMNS, rows, REPLACE)
    sum_day(hour)


def _unmark(marks: list[tuple[UUID, UUID]]) -> None:
    """One by one, each in a transaction of its own: those who mark several hours must not wait in a circle."""
    for mark_id, stamp in marks:
        _delete(HourMark.objects.filter(id=mark_id, stamp=stamp))


def _told_of(hour: Hour, error: Exception) -> Exception:
    logger.error("hour %s cannot be summed, it stays marked: %s", hour, type(error).__name__)
    return error


def _delete(rows: "QuerySet[HourRow] | QuerySet[HourMark]") -> None:
    """With one statement, without reading them."""
    rows._raw_delete(connection.alias)
