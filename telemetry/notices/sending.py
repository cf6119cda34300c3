"""Sends what is in the outbox. Nothing is lost, and nothing is sent twice:

- a delivery is marked as being sent, in a committed row, before the first byte leaves;
- an answer settles it, or says that it did not arrive: then it waits for its next turn;
- where no answer comes, or the worker dies, nobody can know: it is marked unconfirmed, and sent again only by a person.

To one target one message goes at a time, in order, and no faster than it asked for: all workers see that in its row.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.db import OperationalError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from accounts.ids import new_id
from telemetry.models import Delivery, Target
from telemetry.models.notices import UNSETTLED, State
from telemetry.notices.answer import TOO_MANY, Answer, Result
from telemetry.notices.notice import Notice, NoticeKind
from telemetry.notices.outbox import GIVE_UP
from telemetry.notices.places import TIMEOUT_SECONDS, Place, place_of
from telemetry.notices.routes import Routes

logger = logging.getLogger(__name__)

PUT_OFF = timedelta(minutes=30)
WORKER_DIED = "the worker ended before the answer came"
TOO_LATE = "it could not be sent for 24 hours"
SWITCHED_OFF = "it was switched off before this was sent"
WRITE_TRIES = 3
_notice = msgspec.json.Decoder(Notice)

Clock = Callable[[], datetime]
Rows = QuerySet[Delivery]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast, and how patiently."""

    message_seconds: float = 1.0
    """Between two messages to one target."""
    work_seconds: float = 20.0
    """Of one run, after which it sends nothing new: other tasks wait for the worker too."""
    wait_seconds: float = 1.5
    """How long one run waits in all for its targets' next moment."""
    timeout_seconds: float = TIMEOUT_SECONDS
    lease_seconds: float = 60.0
    """When a worker that has said nothing is taken to be dead: longer than any attempt takes."""
    backoff_seconds: tuple[float, ...] = (2, 5, 15, 30, 60, 120, 300)
    patient_attempts: int = 10
    """So often a message is tried before those behind it go first: it may be at fault itself."""
    pending_max: int = 10_000
    """For one target. Beyond it the oldest conversations go; nothing else ever does."""


@dataclass(slots=True)
class Queue:
    """What waits for one target."""

    target: str
    label: str
    places: dict[tuple[str, UUID | None], Place] = field(default_factory=dict)

    def rows(self) -> Rows:
        sinks: dict[str, list[UUID | None]] = {}
        for sink, domain_id in self.places:
            sinks.setdefault(sink, []).append(domain_id)
        which = Q(pk__in=[])
        for sink, domain_ids in sinks.items():
            which |= Q(sink=sink, domain_id__in=[each for each in domain_ids if each])
            if None in domain_ids:
                which |= Q(sink=sink, domain_id__isnull=True)
        return Delivery.objects.filter(which, state=State.PENDING)

    def next(self, now: datetime) -> Delivery | None:
        """In order; what somebody may have to act on goes before what was said."""
        due = self.rows().filter(due_at__lte=now).order_by("position")
        return due.exclude(kind=NoticeKind.CONVERSATION).first() or due.filter(kind=NoticeKind.CONVERSATION).first()


class Sending:
    """One run of the task. `now` is asked again and again."""

    def __init__(self, pace: Pace | None = None, now: Clock = timezone.now) -> None:
        self._pace = pace or Pace()
        self._now = now

    def run(self) -> int:
        """How many attempts were made."""
        if not Delivery.objects.filter(state__in=UNSETTLED, due_at__lte=self._now()).exists():
            return 0  # as nearly always
        self._recover()
        queues = self._queues()
        for queue in queues:
            self._trim(queue)
        deadline = time.monotonic() + self._pace.work_seconds
        patience = self._pace.wait_seconds
        attempts = 0
        while queues and time.monotonic() < deadline:
            tried = sum(self._send_next(queue) for queue in queues if time.monotonic() < deadline)
            attempts += tried
            if not tried:
                pause = self._seconds_to_next(queues)
                if pause is None or pause > patience:
                    break
                patience -= pause
                time.sleep(pause)
        return attempts

    # --- What there is to do ------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """What dead workers have left, and what has waited for a day."""
        now = self._now()
        left = Delivery.objects.filter(state=State.SENDING, sending_until__lt=now)
        left.update(state=State.UNCONFIRMED, error=WORKER_DIED, settled_at=now, sending_until=None)
        late = Delivery.objects.filter(state=State.PENDING, due_at__lte=now, give_up_at__lt=now)
        late.update(state=State.FAILED, error=TOO_LATE, settled_at=now)

    def _queues(self) -> list[Queue]:
        """Those of troubled targets last: they may take all the time there is."""
        routes = Routes.load()
        queues: dict[str, Queue] = {}
        pending = Delivery.objects.filter(state=State.PENDING, due_at__lte=self._now()).order_by()
        for sink, domain_id, kind in pending.values_list("sink", "domain_id", "kind").distinct():
            place = place_of(sink, domain_id, routes, self._pace.timeout_seconds)
            if place is None or sink not in routes.sinks(NoticeKind(kind), domain_id):
                self._withdraw(sink, domain_id, kind)
                continue
            queue = queues.setdefault(place.id, Queue(place.id, place.label))
            queue.places[sink, domain_id] = place
        for queue in queues.values():
            Target.objects.get_or_create(id=queue.target, defaults={"label": queue.label, "free_at": self._now()})
        trouble = dict(Target.objects.filter(id__in=queues).values_list("id", "failures"))
        return sorted(queues.values(), key=lambda queue: trouble.get(queue.target, 0))

    def _withdraw(self, sink: str, domain_id: UUID | None, kind: str) -> None:
        """Also what that sink is not to hear of any more, such as what is said in a domain that now stays silent."""
        of = {"domain_id": domain_id} if domain_id else {"domain_id__isnull": True}
        rows = Delivery.objects.filter(state=State.PENDING, sink=sink, kind=kind, **of)
        rows.update(state=State.WITHDRAWN, error=SWITCHED_OFF, settled_at=self._now(), payload="")

    def _trim(self, queue: Queue) -> None:
        excess = queue.rows().count() - self._pace.pending_max
        if excess <= 0:
            return
        oldest = queue.rows().filter(kind=NoticeKind.CONVERSATION).order_by("position").values_list("id", flat=True)
        count, _ = Delivery.objects.filter(id__in=list(oldest[:excess]), state=State.PENDING).delete()
        Target.objects.filter(id=queue.target).update(dropped=F("dropped") + count)

    def _seconds_to_next(self, queues: list[Queue]) -> float | None:
        """Until a target may be sent to for which something waits."""
        moments = dict(self._open_targets(queues).values_list("id", "free_at"))
        waiting = [moments[queue.target] for queue in queues if queue.target in moments and queue.next(self._now())]
        return max((min(waiting) - self._now()).total_seconds(), 0.01) if waiting else None

    def _open_targets(self, queues: list[Queue]) -> "QuerySet[Target]":
        return Target.objects.filter(id__in=[queue.target for queue in queues], failing_since=None)

    # --- One message --------------------------------------------------------------------------------------------

    def _send_next(self, queue: Queue) -> bool:
        now = self._now()
        if not self._open_targets([queue]).filter(free_at__lte=now).exists():
            return False
        delivery = queue.next(now)
        if delivery is None or not self._hold(queue, now):
            return False
        if not self._claim(delivery, queue, now):
            Target.objects.filter(id=queue.target).update(free_at=now)
            return False
        answer = self._posted(delivery, queue)
        self._settle(delivery, answer, queue)
        return True

    def _hold(self, queue: Queue, now: datetime) -> bool:
        """Until the lease ends, this target is ours."""
        until = now + timedelta(seconds=self._pace.lease_seconds)
        return self._open_targets([queue]).filter(free_at__lte=now).update(free_at=until, label=queue.label) == 1

    def _claim(self, delivery: Delivery, queue: Queue, now: datetime) -> bool:
        delivery.claim = new_id()
        delivery.attempts += 1
        return (
            Delivery.objects.filter(id=delivery.id, state=State.PENDING).update(
                state=State.SENDING,
                claim=delivery.claim,
                sending_until=now + timedelta(seconds=self._pace.lease_seconds),
                attempts=F("attempts") + 1,
                target=queue.target,
                target_label=queue.label,
            )
            == 1
        )

    def _posted(self, delivery: Delivery, queue: Queue) -> Answer:
        place = queue.places[delivery.sink, delivery.domain_id]
        try:
            notice = _notice.decode(delivery.payload)
            return place.post(notice, delivery.id, _thread_ts(delivery, queue.target))
        except msgspec.DecodeError:
            return Answer(Result.REFUSED, None, "its words cannot be read")
        except Exception as error:
            # A fault of our own: it may have been sent.
            logger.error("delivery %s ended in %s", delivery.id, type(error).__name__)
            return Answer(Result.UNKNOWN, None, f"a fault in Nexus: {type(error).__name__}")

    def _settle(self, delivery: Delivery, answer: Answer, queue: Queue) -> None:
        """What came of it must be written: until then it counts as unconfirmed."""
        for attempt in range(1, WRITE_TRIES + 1):
            try:
                with transaction.atomic():
                    self._note(delivery, answer, self._now())
                    self._note_target(queue.target, answer, self._now())
                return
            except OperationalError:
                if attempt == WRITE_TRIES:
                    raise
                time.sleep(0.5)

    def _note(self, delivery: Delivery, answer: Answer, now: datetime) -> None:
        """Also where the lease has ended meanwhile: it was unconfirmed, and is no more."""
        ours = Delivery.objects.filter(
            id=delivery.id, claim=delivery.claim, state__in=(State.SENDING, State.UNCONFIRMED)
        )
        ours.update(
            sending_until=None, http_status=answer.status, error=answer.error, **self._outcome(delivery, answer, now)
        )

    def _outcome(self, delivery: Delivery, answer: Answer, now: datetime) -> dict[str, Any]:
        match answer.result:
            case Result.ARRIVED:
                told = {"payload": "", "message_ts": answer.message_ts, "message_channel": answer.message_channel}
                return {"state": State.DELIVERED, "settled_at": now, **told}
            case Result.LATER if now < delivery.give_up_at:
                is_odd = answer.status not in (None, TOO_MANY) and delivery.attempts >= self._pace.patient_attempts
                return {"state": State.PENDING, **({"due_at": now + PUT_OFF} if is_odd else {})}
            case Result.UNKNOWN:
                return {"state": State.UNCONFIRMED, "settled_at": now}
        return {"state": State.FAILED, "settled_at": now}

    def _note_target(self, target_id: str, answer: Answer, now: datetime) -> None:
        target = Target.objects.get(id=target_id)
        match answer.result:
            case Result.ARRIVED:
                target.failures, target.delivered_at = 0, now
            case Result.BARRED:
                target.failing_since, target.failing_reason = now, answer.error
                logger.error("nothing is sent to %s until somebody acts: %s", target.label, answer.error)
            case Result.LATER | Result.UNKNOWN:
                target.failures += answer.status != TOO_MANY
        # From the answer on: so far apart they arrive, however long the way was.
        target.free_at = now + self._wait(answer, target.failures)
        target.save()

    def _wait(self, answer: Answer, failures: int) -> timedelta:
        seconds = self._pace.message_seconds
        if answer.result in (Result.LATER, Result.UNKNOWN):
            steps = self._pace.backoff_seconds
            backoff = steps[min(max(failures, 1), len(steps)) - 1]
            seconds = max(seconds, backoff if answer.wait_seconds is None else answer.wait_seconds)
        return timedelta(seconds=seconds)


def _thread_ts(delivery: Delivery, target_id: str) -> str:
    """The message that began the thread."""
    if delivery.thread is None:
        return ""
    told = Delivery.objects.filter(
        thread=delivery.thread, sink=delivery.sink, target=target_id, state=State.DELIVERED
    ).exclude(message_ts="")
    return told.order_by("position").values_list("message_ts", flat=True).first() or ""


def send_again(deliveries: "QuerySet[Delivery]", now: datetime | None = None) -> int:
    """Because somebody asked: it may arrive a second time. What was delivered is not kept, and cannot be."""
    now = now or timezone.now()
    kept = deliveries.filter(state__in=(State.FAILED, State.UNCONFIRMED)).exclude(payload="")
    return kept.update(
        state=State.PENDING, claim=None, due_at=now, give_up_at=now + GIVE_UP, settled_at=None, attempts=0, error=""
    )


def try_again(targets: "QuerySet[Target]") -> int:
    """Because somebody has set it right at the other end."""
    return targets.update(failing_since=None, failing_reason="", failures=0, free_at=timezone.now())
