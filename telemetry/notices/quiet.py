"""Quiet hours: what may wait is held until they end, and then told in one message to each place."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from django.db import transaction

from telemetry.models import Delivery
from telemetry.models.notices import SLACK, State
from telemetry.notices.notice import Notice, NoticeKind
from telemetry.notices.places import place_of
from telemetry.notices.routes import Routes, SlackChoice

HELD_KINDS = (NoticeKind.INCIDENT, NoticeKind.ERROR)
LINES_MAX = 30
LINE_MAX_CHARACTERS = 200
ROWS_MAX = 1000
"""Held notices that one run takes; the next one takes the others."""
_notice = msgspec.json.Decoder(Notice)


def held_until(notice: Notice, sink: str, routes: Routes, now: datetime) -> datetime | None:
    """When it may be told; None: now. Programs have no quiet hours."""
    if sink != SLACK or notice.is_urgent or notice.kind not in HELD_KINDS:
        return None
    return quiet_until(routes.slack(notice.domain_id), now)


def quiet_until(choice: SlackChoice, now: datetime) -> datetime | None:
    """The end of the quiet hours that are now, in UTC; None where there are none. They may pass midnight. On days on
    which clocks change, a time that there is twice is the first of the two, and one that there is not an hour later."""
    begin, end = choice.quiet_from, choice.quiet_until
    if begin is None or end is None or begin == end:
        return None
    zone = ZoneInfo(choice.time_zone)
    today = now.astimezone(zone).date()
    for day in (today - timedelta(days=1), today):
        until = moment(day if begin < end else day + timedelta(days=1), end, zone)
        if moment(day, begin, zone) <= now < until:
            return until
    return None


def moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    """In UTC: within one zone Python compares clock times, which an hour can have twice."""
    return datetime.combine(day, at, zone).astimezone(UTC)


def tell_held(now: datetime) -> int:
    """Releases what was held and is due; how many messages that makes. Each is claimed by changing it: of two workers
    one tells it."""
    routes = Routes.load()
    held = Delivery.objects.filter(state=State.HELD, due_at__lte=now).order_by("position")
    groups: dict[str, list[Delivery]] = {}
    for delivery in held[:ROWS_MAX]:
        place = place_of(delivery.sink, delivery.domain_id, routes)
        groups.setdefault(place.id if place else "", []).append(delivery)
    return sum(_told_together(group, routes, now) for group in groups.values())


def _told_together(group: Sequence[Delivery], routes: Routes, now: datetime) -> bool:
    """The first one carries the words of all."""
    carrier, others = group[0], [delivery.id for delivery in group[1:]]
    with transaction.atomic():
        claimed = Delivery.objects.filter(state=State.HELD, id__in=[carrier.id, *others])
        changes = {"payload": _together(group, routes), "thread": None} if others else {}
        count = claimed.filter(id=carrier.id).update(state=State.PENDING, due_at=now, **changes)
        count += claimed.filter(id__in=others).update(state=State.GATHERED, settled_at=now, payload="")
        if count != len(group):
            transaction.set_rollback(True)
            return False
    return True


def _together(group: Sequence[Delivery], routes: Routes) -> str:
    notices = [_notice.decode(delivery.payload) for delivery in group]
    shown = list(_last_of_each_thread(notices))
    zone = ZoneInfo(routes.slack(notices[0].domain_id).time_zone)
    lines = [_line(notice, zone) for notice in shown[-LINES_MAX:]]
    if len(shown) > LINES_MAX:
        lines.insert(0, f"{len(shown) - LINES_MAX:,} earlier ones are in the admin.")
    gathered = Notice(
        id=notices[0].id,
        kind=notices[0].kind,
        domain_id=notices[0].domain_id,
        title=f"While it was quiet: {len(notices):,} notices",
        text="\n".join(lines),
        color="warning",
        at=notices[-1].at,
        facts={"notices": len(notices)},
    )
    return msgspec.json.encode(gathered).decode()


def _last_of_each_thread(notices: Sequence[Notice]) -> Iterator[Notice]:
    """An incident that was opened and is over is told as one that is over."""
    last: dict[UUID, UUID] = {notice.thread: notice.id for notice in notices if notice.thread}
    return (notice for notice in notices if notice.thread is None or last[notice.thread] == notice.id)


def _line(notice: Notice, zone: ZoneInfo) -> str:
    words = notice.text.partition("\n")[0]
    # What is cut inside an entity would show its half: the end is left at a space.
    cut = words if len(words) <= LINE_MAX_CHARACTERS else words[:LINE_MAX_CHARACTERS].rpartition(" ")[0] + " …"
    return f"{notice.at.astimezone(zone):%H:%M}  *{notice.title}* {cut}".rstrip()
