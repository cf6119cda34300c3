"""What is used of limits and budgets now, and what they refused: no further than a viewer may see."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Count
from django.utils import timezone

from accounts.access import Viewer
from accounts.facts import BudgetFacts, ClientKeyFacts, Snapshot
from accounts.ids import first_id_at
from accounts.models import ClientKey
from accounts.register import load
from dashboard.filters import DEFAULT_SPAN, OfDomain, OfWhom, Span
from dashboard.scope import called, seen
from telemetry.limits import overview
from telemetry.limits.forecast import forecast
from telemetry.limits.overview import Line
from telemetry.models import ExchangeRow, Outcome

KEYS_MAX = 200
"""Shown at once, by name; more of them one asks for by domain or by key."""
Row = dict[str, Any]


def of_keys(viewer: Viewer, asked: OfWhom) -> Row:
    snapshot = load()
    keys = sorted(_keys(snapshot, viewer, asked), key=lambda key: (key.domain.host, key.name))
    if asked.key is not None:
        wanted = set(called(ClientKey, viewer, asked.key))
        keys = [key for key in keys if key.id in wanted]
    found = [(key, overview.of_key(snapshot, key)) for key in keys[:KEYS_MAX]]
    shown = [
        {"id": key.id, "name": key.name, "domain": key.domain.host, "limits": _shown(viewer, of_key.lines)}
        for key, of_key in found
    ]
    return {"keys": shown, "left_out": max(0, len(keys) - KEYS_MAX), **_source(of_key for _, of_key in found)}


def budgets(viewer: Viewer, asked: OfDomain) -> Row:
    snapshot = load()
    keys = _keys(snapshot, viewer, asked)
    found = [
        (budget, overview.of_budget_alone(budget, keys))
        for budget in snapshot.budgets
        if _belongs(budget, viewer, asked, keys)
    ]
    shown = [
        {
            "id": budget.id,
            "name": budget.name,
            "each": budget.each or None,
            "period": budget.period,
            "amount": str(budget.amount_usd),
            "use": [line.as_dict() for line in use.lines],
            "forecast": forecast(budget),
        }
        for budget, use in found
    ]
    return {"budgets": shown, **_source(use for _, use in found)}


def refusals(viewer: Viewer, asked: Span) -> list[Row]:
    """The most frequent first."""
    since = asked.since or timezone.now() - DEFAULT_SPAN
    rows = ExchangeRow.objects.filter(seen(viewer, asked.domain), outcome=Outcome.REFUSED, id__gte=first_id_at(since))
    counted = rows.exclude(refused_by="").order_by().values("refused_by").annotate(count=Count("id"))
    return [{"name": row["refused_by"], "count": row["count"]} for row in counted.order_by("-count", "refused_by")]


def _keys(snapshot: Snapshot, viewer: Viewer, asked: OfDomain) -> list[ClientKeyFacts]:
    """Those that can be used, of domains that the viewer may see."""
    return [
        key
        for key in overview.keys_of(snapshot)
        if (viewer.domain_ids is None or key.domain.id in viewer.domain_ids)
        and (asked.domain is None or key.domain.host == asked.domain.lower())
        and key.revoked_at is None
    ]


def _belongs(budget: BudgetFacts, viewer: Viewer, asked: OfDomain, keys: Iterable[ClientKeyFacts]) -> bool:
    """A budget of everything tells what others spend."""
    if budget.domain_id is None and budget.client_key_id is None:
        return viewer.domain_ids is None and asked.domain is None
    return any(budget.client_key_id == key.id or budget.domain_id == key.domain.id for key in keys)


def _shown(viewer: Viewer, lines: Iterable[Line]) -> list[Row]:
    return [line.as_dict() for line in lines if viewer.domain_ids is None or line.meter.scope != "all"]


def _source(found: Iterable[overview.Overview]) -> Row:
    """Where the figures are from: the same for all."""
    for each in found:
        return {"figures": each.source, "is_live": each.is_live}
    return {"figures": "there is nothing to count", "is_live": True}
