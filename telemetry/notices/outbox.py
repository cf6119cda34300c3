"""The queue of what is to be told. Whoever enters a notice may be in the middle of a transaction: it is told if that
is committed, and not otherwise."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.utils import timezone

from accounts.ids import new_id
from telemetry.models import Delivery
from telemetry.models.notices import State
from telemetry.notices.notice import Notice, NoticeKind
from telemetry.notices.quiet import held_until
from telemetry.notices.routes import Routes
from telemetry.record.insert import insert

GIVE_UP = timedelta(hours=24)
"""What could not be sent for so long after it was due is no news any more."""
COLUMNS = (
    "id",
    "notice_id",
    "sink",
    "kind",
    "domain_id",
    "exchange_id",
    "thread",
    "position",
    "payload",
    "entered_at",
    "due_at",
    "give_up_at",
)
DEFAULTS: dict[str, Any] = {
    "state": State.PENDING.value,
    "target": "",
    "target_label": "",
    "attempts": 0,
    "error": "",
    "message_ts": "",
    "message_channel": "",
}


def enter(notices: Iterable[Notice], *, due_at: datetime | None = None, routes: Routes | None = None) -> None:
    """One delivery for each sink that wants to hear of it, told no earlier than `due_at`. A notice that was entered
    before, by its id, is not entered again."""
    rows = list(_rows(notices, routes or Routes.load(), due_at))
    insert(Delivery, (*COLUMNS, *DEFAULTS), rows)


def _rows(notices: Iterable[Notice], routes: Routes, due_at: datetime | None) -> Iterator[tuple[Any, ...]]:
    now = timezone.now()
    for notice in notices:
        payload = msgspec.json.encode(notice).decode()
        position = notice.exchange_id if notice.kind is NoticeKind.CONVERSATION and notice.exchange_id else new_id()
        for sink in routes.sinks(notice.kind, notice.domain_id):
            held = held_until(notice, sink, routes, now)
            due = held or due_at or now
            yield (
                new_id(),
                notice.id,
                sink,
                notice.kind.value,
                notice.domain_id,
                notice.exchange_id,
                notice.thread,
                position,
                payload,
                now,
                due,
                due + GIVE_UP,
                *(DEFAULTS | ({"state": State.HELD.value} if held else {})).values(),
            )
