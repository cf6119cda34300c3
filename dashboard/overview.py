"""What the overview shows, no further than a viewer may see."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db.models import Count, Max, Q
from django.utils import timezone

from accounts.access import Viewer
from accounts.ids import first_id_at
from accounts.models import ClientKey
from dashboard import figures
from dashboard.figures import Hours, Part, Point
from dashboard.filters import By, Figures
from dashboard.ledger import proof
from dashboard.scope import names, seen
from dashboard.sums import Sums
from telemetry.models import ExchangeRow, Outcome

TOP = 8
ERRORS_MAX = 8
CONVERSATIONS_MAX = 10
LOOKED_THROUGH_MAX = 400
"""The newest requests, in which the conversations of the last day are looked for."""
ERRORS_WITHIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Overview:
    totals: Sums
    before: Sums
    hours_per_point: int
    points: list[Point]
    models: list[Part]
    keys: list[Part]
    domains: list[Part]


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Requests that ended alike."""

    outcome: str
    status: int | None
    error_type: str
    count: int
    last_at: datetime


@dataclass(slots=True)
class Conversation:
    session_id: str
    client_key: str | None
    model: str
    preview: str
    """Empty where the viewer may not see what was said."""
    last_at: datetime
    requests: int = 0
    cost: Decimal = Decimal(0)
    """Of those of its requests that were looked through."""


def overview(viewer: Viewer, asked: Figures, hours: Hours) -> Overview:
    width, points, totals = figures.series_and_totals(viewer, asked, hours)
    before = figures.totals(viewer, asked, hours.before)
    parts = figures.breakdowns(viewer, asked, hours, (By.MODEL, By.KEY, By.DOMAIN), TOP)
    models, keys, domains = (found for found, _ in parts.values())
    return Overview(totals, before, width, points, models, keys, domains)


def errors_for_overview(viewer: Viewer, host: str | None, since: datetime) -> list[ErrorGroup]:
    """Those of the last day at most, the most frequent first."""
    since = max(since, timezone.now() - ERRORS_WITHIN)
    rows = ExchangeRow.objects.filter(seen(viewer, host), ~Q(outcome=Outcome.COMPLETED), id__gte=first_id_at(since))
    groups = (
        rows.exclude(outcome=Outcome.CANCELLED)
        .order_by()
        .values("outcome", "status", "error_type")
        .annotate(count=Count("id"), last_at=Max("started_at"))
        .order_by("-count", "outcome", "status", "error_type")[:ERRORS_MAX]
    )
    return [ErrorGroup(**group) for group in groups]


def conversations_for_overview(viewer: Viewer, host: str | None) -> list[Conversation]:
    """By the session id, the one last heard of first, among the newest requests."""
    columns = ["session_id", "client_key_id", "model", "started_at", "cost"]
    if viewer.may_see_bodies:
        columns.append("request_preview")
    rows = ExchangeRow.objects.filter(seen(viewer, host), id__gte=first_id_at(timezone.now() - ERRORS_WITHIN))
    found: dict[str, Conversation] = {}
    keys: dict[str, UUID | None] = {}
    for row in rows.order_by("-id").values(*columns)[:LOOKED_THROUGH_MAX]:
        session = row["session_id"]
        if not session:
            continue
        if session not in found:
            said = row.get("request_preview", "")
            found[session] = Conversation(session, None, row["model"], said, row["started_at"])
            keys[session] = row["client_key_id"]
        found[session].requests += 1
        found[session].cost += row["cost"] or 0
    shown = list(found.values())[:CONVERSATIONS_MAX]
    called = names(ClientKey, "name", (keys[each.session_id] for each in shown))
    for each in shown:
        each.client_key = called.get(keys[each.session_id])
    return shown


def ledger_for_overview(viewer: Viewer) -> dict[str, int] | None:
    """None to who sees only some domains: the proof counts all."""
    return proof()["cluster"] if viewer.domain_ids is None else None
