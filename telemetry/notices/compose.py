"""Makes notices of the exchanges that were noted: what was said, and what went wrong.

Each candidate is taken by deleting it, in the transaction that enters its notice: once, however many workers there are.
All take them in the same order, so that on PostgreSQL the second waits for the first, and conversations stay in order.
"""

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid5

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from telemetry.models import Candidate, ErrorStreak, ExchangeRow, LastSaid
from telemetry.notices.notice import Notice, NoticeKind
from telemetry.notices.outbox import enter
from telemetry.notices.routes import Routes
from telemetry.notices.words import Said, escaped, said
from telemetry.record.exchange import Pricing
from telemetry.record.pieces import MissingPiece

logger = logging.getLogger(__name__)

BATCH = 20
"""Their bodies are in memory together."""
WORK_SECONDS = 5.0
"""Of one run, after which it begins nothing new."""
SUMMARY_EVERY = timedelta(minutes=5)
ERROR_MAX_CHARACTERS = 500
NOTICES = UUID("6f6b3f0e-3c35-4c53-8f1c-5a7d4a5b9c11")
"""Ids of notices are made in this name space."""


def compose(now: datetime | None = None) -> int:
    """How many exchanges were dealt with. What one run leaves, the next one takes."""
    now = now or timezone.now()
    if not (Candidate.objects.exists() or _due_streaks(now).exists()):
        return 0  # as nearly always
    deadline = time.monotonic() + WORK_SECONDS
    routes = Routes.load()
    done = 0
    for is_error in (True, False):  # apart: two workers must not wait for one another's
        batch = Candidate.objects.filter(is_error=is_error).order_by("exchange_id")[:BATCH]
        while time.monotonic() < deadline and (candidates := list(batch.all())):
            done += _compose(candidates, routes, now)
    _sum_up(routes, now)
    return done


def _compose(candidates: Sequence[Candidate], routes: Routes, now: datetime) -> int:
    """Bodies are read before the transaction begins: on SQLite it keeps all others from writing."""
    ids = [candidate.exchange_id for candidate in candidates]
    rows = ExchangeRow.objects.select_related("domain", "client_key", "body").in_bulk(ids)
    words = {
        candidate.exchange_id: _said(rows[candidate.exchange_id])
        for candidate in candidates
        if not candidate.is_error and candidate.exchange_id in rows
    }
    with transaction.atomic():
        taken = [each for each in candidates if Candidate.objects.filter(pk=each.pk).delete()[0]]
        enter(_notices(taken, rows, words, now), routes=routes)
    return len(taken)


def _notices(
    taken: Sequence[Candidate], rows: Mapping[UUID, ExchangeRow], words: Mapping[UUID, Said | None], now: datetime
) -> Iterator[Notice]:
    for candidate in taken:
        row = rows.get(candidate.exchange_id)
        if row is None or row.domain is None:
            continue
        if candidate.is_error:
            yield from _error_notices(row, now)
        elif found := words[row.id]:
            yield _conversation_notice(row, found, now)


def _said(row: ExchangeRow) -> Said | None:
    """None where nothing was kept; a body that nobody can read holds up no other."""
    try:
        return said(row.request_body() or b"", row.response_body() or b"")
    except MissingPiece:
        return None
    except Exception as error:
        logger.error("exchange %s cannot be told, its bodies are odd: %s", row.id, type(error).__name__)
        return None


# --- What was said ----------------------------------------------------------------------------------------------


def _conversation_notice(row: ExchangeRow, found: Said, now: datetime) -> Notice:
    # An answer of tools alone does not show what the user said: the next one still has to.
    with_user = bool(found.claude) and _is_new(row, found.user, now)
    return Notice(
        id=uuid5(NOTICES, f"conversation {row.id}"),
        kind=NoticeKind.CONVERSATION,
        domain_id=row.domain_id,
        title="",
        text=escaped(found.text(with_user=with_user)),
        footer=_footer(row),
        at=row.started_at,
        exchange_id=row.id,
        facts=_facts(row),
    )


def _is_new(row: ExchangeRow, text: str, now: datetime) -> bool:
    """Whether the user of this conversation was last shown to say something else; from now on, this."""
    key = _hashed(f"{row.domain_id} {row.session_id or row.client_key_id or row.id} {row.agent_id}")
    text_hash = _hashed(f"{row.domain_id} {text}")
    last = LastSaid.objects.filter(id=key).first()
    LastSaid.objects.update_or_create(id=key, defaults={"text_hash": text_hash, "updated_at": now})
    return last is None or last.text_hash != text_hash


def _hashed(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=32).hexdigest()


def _footer(row: ExchangeRow) -> str:
    key = f"...{row.client_key.last4}" if row.client_key else "no key"
    parts = [_host(row), row.model, key, f"Tokens: {_read_tokens(row):,}/{row.output_tokens:,}", _cost(row)]
    return " | ".join(escaped(part) for part in parts if part)


def _read_tokens(row: ExchangeRow) -> int:
    return row.input_tokens + row.cache_read_tokens + row.cache_write_5m_tokens + row.cache_write_1h_tokens


def _cost(row: ExchangeRow) -> str:
    if row.pricing == Pricing.UNPRICED or row.cost is None:
        return "Cost: unknown" if row.pricing == Pricing.UNPRICED else ""
    return f"Cost: ${row.cost.quantize(Decimal('0.0001')):f}"


def _facts(row: ExchangeRow) -> dict[str, str | int | float | bool | None]:
    return {
        "model": row.model,
        "session_id": row.session_id,
        "outcome": row.outcome,
        "input_tokens": _read_tokens(row),
        "output_tokens": row.output_tokens,
        "cost_usd": None if row.cost is None else f"{row.cost:f}",
    }


def _host(row: ExchangeRow) -> str:
    return row.domain.host if row.domain else ""


# --- What went wrong --------------------------------------------------------------------------------------------


def _error_notices(row: ExchangeRow, now: datetime) -> Iterator[Notice]:
    """The first of its kind at once; those that follow within five minutes are counted."""
    kind = {"domain_id": row.domain_id, "error_type": row.error_type, "status": row.status or 0}
    streak, is_first = ErrorStreak.objects.get_or_create(**kind, defaults={"told_at": now, "last_exchange_id": row.id})
    is_over = not streak.untold and streak.told_at <= now - SUMMARY_EVERY
    if is_first or is_over:
        ErrorStreak.objects.filter(id=streak.id).update(told_at=now, last_exchange_id=row.id)
        yield _error_notice(row, uuid5(NOTICES, f"error {row.id}"), 1)
    else:
        ErrorStreak.objects.filter(id=streak.id).update(untold=F("untold") + 1, last_exchange_id=row.id)


def _due_streaks(now: datetime) -> "QuerySet[ErrorStreak]":
    return ErrorStreak.objects.filter(untold__gt=0, told_at__lte=now - SUMMARY_EVERY)


def _sum_up(routes: Routes, now: datetime) -> None:
    """One notice for all errors of a kind since the last one."""
    for streak in _due_streaks(now):
        row = ExchangeRow.objects.select_related("domain").filter(id=streak.last_exchange_id).first()
        with transaction.atomic():
            # As it was read: whoever else has summed it up meanwhile has changed it.
            same = ErrorStreak.objects.filter(id=streak.id, untold=streak.untold, told_at=streak.told_at)
            if same.update(told_at=now, untold=0) and row is not None and row.domain is not None:
                notice_id = uuid5(NOTICES, f"errors {streak.id} {streak.told_at.isoformat()}")
                enter([_error_notice(row, notice_id, streak.untold)], routes=routes)


def _error_notice(row: ExchangeRow, notice_id: UUID, count: int) -> Notice:
    fields = [
        ("Domain", escaped(_host(row))),
        ("Time", f"{row.started_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("Type", escaped(row.error_type or row.outcome)),
        ("Status", str(row.status or "none")),
    ]
    if count > 1:
        fields.append(("Count", f"{count:,} since the last message"))
    return Notice(
        id=notice_id,
        kind=NoticeKind.ERROR,
        domain_id=row.domain_id,
        title=f"Request {row.id}",
        text=escaped(row.error_message, ERROR_MAX_CHARACTERS),
        color="danger",
        fields=fields,
        at=row.started_at,
        exchange_id=row.id,
        facts=_facts(row) | {"error_type": row.error_type, "status": row.status, "count": count},
    )
