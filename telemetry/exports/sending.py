"""Sends what waits for the telemetry endpoint, oldest first. Run by Celery. After a failure the endpoint is left alone
for a while, so that one that is away costs the worker one short try now and then."""

import logging
import random
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from email.utils import parsedate_to_datetime
from uuid import UUID

import httpx
import msgspec
from django.core.cache import cache
from django.db import transaction
from django.utils import timezone

from telemetry.exports.conf import ExportConf
from telemetry.exports.facts import Fact, facts_of
from telemetry.models import ExportRow

logger = logging.getLogger(__name__)

RUN_SECONDS = 20.0
"""Of one run, after which it sends nothing new: other tasks wait for the worker too."""
LEASE = timedelta(seconds=60)
"""Longer than a run and its last request take: who has taken rows and died gives them back by it."""
TAKEN_AT_LEAST = 100
"""Rows at a time, however small the batches are."""
FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 5.0, 600.0
AT_FAULT = frozenset({400, 413, 422})
"""What the endpoint says of a body. Any other failure is its own, or that of its address."""
TRIES_ALONE = 3
RESTS, FAILURES, BEHIND = "telemetry-export-rests", "telemetry-export-failures", "telemetry-export-behind"
"""In the cache: losing them costs one more try, or one more line in the log."""
FORGET_SECONDS = 3600


def send(conf: ExportConf, seconds: float = RUN_SECONDS) -> int:
    """How many exchanges no longer wait."""
    if not conf.endpoint:
        return 0
    _give_up_oldest(conf.max_waiting)
    if cache.get(RESTS) or not (rows := _take(conf.batch_size)):
        return 0
    with httpx.Client(timeout=conf.timeout_seconds, follow_redirects=False) as client:
        run = _Run(client, conf, time.monotonic() + seconds)
        while rows and run.deliver(rows):
            rows = _take(conf.batch_size)
        run.settle_refused()
    return run.done


class _Run:
    """What one run of the task has sent, and what it heard."""

    def __init__(self, client: httpx.Client, conf: ExportConf, deadline: float) -> None:
        self._client = client
        self._conf = conf
        self._deadline = deadline
        self._refused: dict[UUID, int] = {}
        """By the id of the exchange, the status."""
        self._is_heard = False
        self.done = 0

    def deliver(self, rows: Sequence[ExportRow]) -> bool:
        """Whether to go on: the endpoint takes what it gets, and there is time. What was not sent is given back."""
        ids = {row.exchange_id for row in rows}
        facts = facts_of(list(ids))
        gone = ids - {UUID(fact.request_id) for fact in facts}  # no longer on record: nothing to tell
        self._forget(gone)
        size = self._conf.batch_size
        batches = [facts[start : start + size] for start in range(0, len(facts), size)]
        goes_on = all(self._send(batch) for batch in batches)
        _give_back(ids)
        return goes_on and not self._refused

    def settle_refused(self) -> None:
        """One that is refused where others are taken is at fault itself. Where none is taken, nobody can know: the
        endpoint may refuse everything, and then nothing is given up."""
        attempts = dict(
            ExportRow.objects.filter(exchange_id__in=list(self._refused)).values_list("exchange_id", "attempts")
        )
        at_fault = {row_id: tried for row_id, tried in attempts.items() if tried or self._is_heard}
        for row_id, tried in at_fault.items():
            self._refuse(row_id, tried + 1)
        if len(at_fault) < len(attempts):
            _rest(f"refuses everything with {next(iter(self._refused.values()))}")

    def _send(self, batch: Sequence[Fact]) -> bool:
        if time.monotonic() >= self._deadline:
            return False
        answer = self._post(batch)
        if answer is not None and answer.is_success:
            cache.delete(FAILURES)
            self._is_heard = True
            self._forget([UUID(fact.request_id) for fact in batch])
        elif answer is None:
            _rest("cannot be reached")
        elif answer.status_code not in AT_FAULT:
            _rest(f"answers {answer.status_code}", _wanted_seconds(answer))
        elif len(batch) > 1:
            return all(self._send([fact]) for fact in batch)
        else:
            self._refused[UUID(batch[0].request_id)] = answer.status_code
            return True
        return answer is not None and answer.is_success

    def _post(self, batch: Sequence[Fact]) -> httpx.Response | None:
        """None where there was no answer. What the answer says is not read: its status is enough."""
        body = msgspec.json.encode(batch[0] if self._conf.batch_size == 1 else batch)
        headers = {"content-type": "application/json"}
        try:
            with self._client.stream("POST", self._conf.endpoint, content=body, headers=headers) as response:
                return response
        except httpx.HTTPError:
            return None

    def _refuse(self, row_id: UUID, tries: int) -> None:
        if tries < TRIES_ALONE:
            ExportRow.objects.filter(exchange_id=row_id).update(attempts=tries)
            return
        logger.error(
            "exchange %s is not sent: the telemetry endpoint refuses it with %s", row_id, self._refused[row_id]
        )
        self._forget([row_id])

    def _forget(self, ids: "Sequence[UUID] | set[UUID]") -> None:
        _forget(ids)
        self.done += len(ids)


def _take(batch_size: int) -> list[ExportRow]:
    """Rows that are now ours alone, until their lease is over."""
    now = timezone.now()
    found = list(ExportRow.objects.filter(due_at__lte=now).order_by("exchange_id")[: max(batch_size, TAKEN_AT_LEAST)])
    same = ExportRow.objects.filter(exchange_id__in=[row.exchange_id for row in found], due_at__lte=now)
    with transaction.atomic():
        if same.update(due_at=now + LEASE) == len(found):
            return found
        transaction.set_rollback(True)  # another worker is at them too: one by one
    return [row for row in found if _is_ours(row)]


def _is_ours(row: ExportRow) -> bool:
    same = ExportRow.objects.filter(exchange_id=row.exchange_id, due_at=row.due_at)
    return same.update(due_at=timezone.now() + LEASE) == 1


def _give_back(ids: set[UUID]) -> None:
    """What of these was not sent is due again at once; that the endpoint rests is known elsewhere."""
    for each in _in_parts(list(ids)):
        ExportRow.objects.filter(exchange_id__in=each).update(due_at=timezone.now())


def _rest(reason: str, wanted_seconds: float | None = None) -> None:
    failures = cache.get(FAILURES, 0) + 1
    if failures == 1:
        logger.warning("the telemetry endpoint %s: what it should hear waits", reason)
    cache.set(FAILURES, failures, FORGET_SECONDS)
    cache.set(RESTS, True, _rest_seconds(failures) if wanted_seconds is None else wanted_seconds)


def _rest_seconds(failures: int) -> float:
    """Longer each time, and not at the same moment for all."""
    rest: float = min(FIRST_REST_SECONDS * 2 ** min(failures - 1, 10), LONGEST_REST_SECONDS)
    return rest * random.uniform(0.75, 1)  # noqa: S311 (spreads the load)


def _wanted_seconds(answer: httpx.Response) -> float | None:
    """What its Retry-After says, in either of its forms; never longer than our own longest."""
    said = answer.headers.get("retry-after", "").strip()
    try:
        seconds = int(said) if said.isdecimal() else (parsedate_to_datetime(said) - timezone.now()).total_seconds()
    except (ValueError, TypeError):  # a date without a zone cannot be compared
        return None
    return min(max(seconds, 1.0), LONGEST_REST_SECONDS)


def _give_up_oldest(max_waiting: int) -> None:
    over = ExportRow.objects.count() - max_waiting
    if over <= 0:
        return
    ids = list(ExportRow.objects.order_by("exchange_id").values_list("exchange_id", flat=True)[:over])
    _forget(ids)
    given_up = cache.get(BEHIND, 0) + len(ids)
    if given_up == len(ids):  # once for an hour of them
        logger.error("the telemetry endpoint is behind: %s exchanges are not sent, and more will not be", len(ids))
    cache.set(BEHIND, given_up, FORGET_SECONDS)


def _forget(ids: "Sequence[UUID] | set[UUID]") -> None:
    for each in _in_parts(list(ids)):
        ExportRow.objects.filter(exchange_id__in=each).delete()


def _in_parts(ids: Sequence[UUID], size: int = 500) -> Iterator[Sequence[UUID]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
