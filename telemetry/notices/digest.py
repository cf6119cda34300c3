"""The digest: once a day, what yesterday was and what is wrong today.

It is told once, whichever worker is first: the row that says so is written in the transaction that enters the notice.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from django.db import IntegrityError, transaction

from telemetry.models import DigestSent, Incident, Severity
from telemetry.notices.day import Day, Figures, day_of, is_summed
from telemetry.notices.notice import Notice, NoticeKind
from telemetry.notices.outbox import enter
from telemetry.notices.quiet import moment
from telemetry.notices.routes import Routes
from telemetry.notices.words import escaped

LATE = timedelta(hours=6)
"""So long after its time it is still told: the worker may have been away."""
PATIENCE = timedelta(minutes=10)
"""How long it waits for hours that have still to be summed."""
INCIDENTS_MAX = 10
INSTALLATION = "installation"
DIGESTS = UUID("2f0a4a0c-0f5e-4c55-9a54-3a7c1f3f6d20")
"""Ids of its notices are made in this name space."""


def send_digests(now: datetime) -> int:
    """Enters all that are due; how many. A domain has one of its own if its settings say when."""
    routes = Routes.load()
    timed = [(domain_id, row.digest_at) for domain_id, row in routes.rows.items() if row.digest_at is not None]
    return sum(_send(domain_id, digest_at, routes, now) for domain_id, digest_at in timed)


def _send(domain_id: UUID | None, digest_at: time, routes: Routes, now: datetime) -> bool:
    zone = ZoneInfo(routes.slack(domain_id).time_zone)
    day = _due(digest_at, zone, now)
    if day is None or not any(routes.sinks(NoticeKind.DIGEST, domain_id)):
        return False
    whose = str(domain_id or INSTALLATION)
    if DigestSent.objects.filter(whose=whose, day=day).exists():
        return False
    since, until = moment(day, time(), zone), moment(day + timedelta(days=1), time(), zone)
    is_patient = now < moment(day + timedelta(days=1), digest_at, zone) + PATIENCE
    if is_patient and not is_summed(since, until):
        return False
    named = [domain_id] if domain_id else [each for each, may_reach in routes.reach.items() if may_reach]
    figures = day_of(domain_id, since, until, named)
    host = routes.hosts.get(domain_id, "") if domain_id else ""
    notice = _notice(domain_id, host, day, figures, named, now)
    try:
        with transaction.atomic():
            DigestSent.objects.create(whose=whose, day=day, at=now)
            enter([notice], routes=routes)
    except IntegrityError:
        return False
    return True


def _due(digest_at: time, zone: ZoneInfo, now: datetime) -> date | None:
    """The day that is to be told now: the one before that on which the digest's time has come."""
    today = now.astimezone(zone).date()
    for told_on in (today, today - timedelta(days=1)):
        at = moment(told_on, digest_at, zone)
        if at <= now < at + LATE:
            return told_on - timedelta(days=1)
    return None


def _notice(domain_id: UUID | None, host: str, day: date, figures: Day, named: Sequence[UUID], now: datetime) -> Notice:
    of = escaped(host) or "all domains"
    wrong = _wrong(domain_id)
    sums = figures.figures
    return Notice(
        id=uuid5(DIGESTS, f"{domain_id or INSTALLATION} {day}"),
        kind=NoticeKind.DIGEST,
        domain_id=domain_id,
        title=f"{day:%A, %B} {day.day}: {of}",
        text="\n".join(_lines(figures, wrong, named)),
        color=_color(wrong),
        at=now,
        facts={
            "day": day.isoformat(),
            "requests": sums.requests,
            "success": None if sums.success is None else round(sums.success, 4),
            "read_tokens": sums.read_tokens,
            "output_tokens": sums.output_tokens,
            "cost_usd": f"{sums.cost:.6f}",
            "unpriced": sums.unpriced,
            "open_incidents": len(wrong),
        },
    )


def _wrong(domain_id: UUID | None) -> list[Incident]:
    unresolved = Incident.objects.unresolved()
    return list(unresolved.filter(domain_id=domain_id) if domain_id else unresolved)


def _color(wrong: list[Incident]) -> str:
    if not wrong:
        return "good"
    return "danger" if any(each.severity == Severity.CRITICAL for each in wrong) else "warning"


def _lines(day: Day, wrong: list[Incident], named: Sequence[UUID]) -> Iterator[str]:
    """Incidents of domains that are not *named* count, and are not told."""
    yield _sentence(day.figures)
    for head, part in (("Models", day.models), ("Keys", day.keys), ("Domains", day.domains)):
        if part:
            yield f"*{head}*"
            yield from (f"• {escaped(name)}: {_brief(figures)}" for name, figures in part)
    yield f"*Open incidents: {len(wrong):,}*" if wrong else "Nothing is wrong."
    told = [each for each in wrong if each.domain_id is None or each.domain_id in named]
    yield from (f"• {each.severity}: {escaped(each.sentence)}" for each in told[:INCIDENTS_MAX])


def _sentence(sums: Figures) -> str:
    if not sums.requests and not sums.cost:
        return "No requests."
    parts = [
        f"{sums.requests:,} requests" + ("" if sums.success is None else f", {sums.success:.1%} well"),
        f"{sums.read_tokens:,} tokens in and {sums.output_tokens:,} out",
        f"${sums.cost:,.2f}",
    ]
    if sums.unpriced:
        parts.append(f"{sums.unpriced:,} without a price, so it cost more")
    return "; ".join(parts) + "."


def _brief(figures: Figures) -> str:
    return f"${figures.cost:,.2f}, {figures.requests:,} requests"
