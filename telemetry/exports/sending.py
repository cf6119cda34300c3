"""Sends what waits for the telemetry endpoint, oldest first. Run by Celery. After a failure the endpoint is left alone
for a while, so that one that is away costs the worker one short try now and then."""

import logging
import random
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from uuid import UUID

import httpx
import msgspec
from django.core.cache import cache
from django.utils import timezone

from telemetry.exports.conf import ExportConf
from telemetry.exports.facts import Fact, facts_of
from telemetry.models import ExportRow

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
"""Longer than a request takes: who has taken rows and died gives them back by it."""
FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 5.0, 600.0
RUN_SECONDS = 20.0
AT_FAULT = frozenset({400, 413, 422})
"""What the endpoint says of a body. Any other failure is its own, or that of its address."""
TRIES_ALONE = 3
RESTS, FAILURES = "telemetry-export-rests", "telemetry-export-failures"
"""In the cache: losing them costs one more try."""
FORGET_FAILURES_SECONDS = 3600


def send(conf: ExportConf, seconds: float = RUN_SECONDS) -> int:
    """How many exchanges were confirmed."""
    if not conf.endpoint or cache.get(RESTS):
        return 0
    _give_up_oldest(conf.max_waiting)
    deadline = time.monotonic() + seconds
    confirmed = 0
    with httpx.Client(timeout=conf.timeout_seconds, follow_redirects=False) as client:
        while time.monotonic() < deadline and (rows := _take(conf.batch_size)):
            done = _deliver(client, conf, rows)
            confirmed += done
            if done < len(rows):
                _give_back(rows)
                break
            cache.delete(FAILURES)
    return confirmed


def _give_back(rows: Sequence[ExportRow]) -> None:
    """What was taken and not sent is due again at once; that the endpoint rests is known elsewhere."""
    ids = [row.exchange_id for row in rows]
    for each in _in_parts(ids):
        ExportRow.objects.filter(exchange_id__in=each).update(due_at=timezone.now())


def _take(limit: int) -> list[ExportRow]:
    """Rows that are now ours alone, until their lease is over."""
    now = timezone.now()
    found = list(ExportRow.objects.filter(due_at__lte=now).order_by("exchange_id")[:limit])
    return [row for row in found if _is_ours(row)]


def _is_ours(row: ExportRow) -> bool:
    same = ExportRow.objects.filter(exchange_id=row.exchange_id, due_at=row.due_at)
    return same.update(due_at=timezone.now() + LEASE) == 1


def _deliver(client: httpx.Client, conf: ExportConf, rows: Sequence[ExportRow]) -> int:
    """How many of these are over and done with."""
    attempts = {row.exchange_id: row.attempts for row in rows}
    facts = facts_of(list(attempts))
    _forget(attempts.keys() - {UUID(fact.request_id) for fact in facts})  # no longer on record: nothing to tell
    done = len(rows) - len(facts)
    for batch in [facts] if conf.batch_size > 1 and facts else [[fact] for fact in facts]:
        answer = _post(client, conf, batch)
        if answer is not None and answer.status_code in AT_FAULT and len(batch) > 1:
            done += _deliver_one_by_one(client, conf, batch, attempts)
        elif _settle(answer, batch, attempts):
            done += len(batch)
        else:
            break
    return done


def _deliver_one_by_one(
    client: httpx.Client, conf: ExportConf, batch: Sequence[Fact], attempts: dict[UUID, int]
) -> int:
    """A batch that was refused: so the others need not suffer for one. Ends where the endpoint rests, and before the
    lease does: it may take its time over each."""
    deadline = time.monotonic() + RUN_SECONDS
    done = 0
    for fact in batch:
        done += _settle(_post(client, conf, [fact]), [fact], attempts)
        if cache.get(RESTS) or time.monotonic() > deadline:
            break
    return done


def _post(client: httpx.Client, conf: ExportConf, batch: Sequence[Fact]) -> httpx.Response | None:
    """None where there was no answer. What the answer says is not read: its status is enough."""
    body = msgspec.json.encode(batch[0] if conf.batch_size == 1 else batch)
    try:
        with client.stream(
            "POST", conf.endpoint, content=body, headers={"content-type": "application/json"}
        ) as response:
            return response
    except httpx.HTTPError:
        return None


def _settle(answer: httpx.Response | None, batch: Sequence[Fact], attempts: dict[UUID, int]) -> bool:
    ids = [UUID(fact.request_id) for fact in batch]
    if answer is not None and answer.is_success:
        _forget(ids)
        return True
    if answer is not None and answer.status_code in AT_FAULT and len(ids) == 1:
        return _refused(ids[0], attempts[ids[0]] + 1, answer.status_code)
    failures = cache.get(FAILURES, 0) + 1
    if failures == 1:
        reason = "cannot be reached" if answer is None else f"answers {answer.status_code}"
        logger.warning("the telemetry endpoint %s: what it should hear waits", reason)
    cache.set(FAILURES, failures, FORGET_FAILURES_SECONDS)
    cache.set(RESTS, True, _rest_seconds(answer, failures))
    return False


def _refused(row_id: UUID, tries: int, status: int) -> bool:
    """Whether it is given up: the endpoint has refused this one alone, several times."""
    if tries >= TRIES_ALONE:
        logger.error("exchange %s is not sent: the telemetry endpoint refuses it with %s", row_id, status)
        _forget([row_id])
        return True
    ExportRow.objects.filter(exchange_id=row_id).update(attempts=tries)
    return False


def _rest_seconds(answer: httpx.Response | None, tries: int) -> float:
    """What the endpoint asks for, else longer each time, and not at the same moment for all."""
    said: str = "" if answer is None else answer.headers.get("retry-after", "")
    if said.isdigit():
        return min(float(said), LONGEST_REST_SECONDS)
    rest: float = min(FIRST_REST_SECONDS * 2 ** min(tries - 1, 10), LONGEST_REST_SECONDS)
    return rest * random.uniform(0.75, 1)  # noqa: S311 (spreads the load)


def _give_up_oldest(max_waiting: int) -> None:
    over = ExportRow.objects.count() - max_waiting
    if over <= 0:
        return
    ids = list(ExportRow.objects.order_by("exchange_id").values_list("exchange_id", flat=True)[:over])
    _forget(ids)
    logger.error("the telemetry endpoint is behind: %s exchanges are not sent", len(ids))


def _forget(ids: "Sequence[UUID] | set[UUID]") -> None:
    for each in _in_parts(list(ids)):
        ExportRow.objects.filter(exchange_id__in=each).delete()


def _in_parts(ids: Sequence[UUID], size: int = 500) -> Iterator[Sequence[UUID]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
