"""What needs somebody now, the worst first: for the first page of the console, no further than a viewer may see."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, F, Q, Value
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from accounts.access import AccessRefused, Viewer, viewer_of
from accounts.models import ClientKey
from dashboard import credentials, limits
from dashboard.filters import OfCredential, OfDomain
from dashboard.ledger import proof
from dashboard.queries import newest_request
from dashboard.scope import seen
from telemetry.models import Delivery, Incident
from telemetry.models.incidents import State as IncidentState
from telemetry.models.notices import State as DeliveryState

BAD, WARN, TODO = "bad", "warn", "todo"
RANKS = (BAD, WARN, TODO)
SHOWN_MAX = 30
OF_EACH_MAX = 10
SPENT_SHARE = 0.8
LATELY = timedelta(days=1)
SHOWN_ANYWAY = (
    *("credential_expiring", "credential_invalid", "credential_limited", "breaker_open"),
    *("budget_threshold", "delivery_failing", "ledger_gap"),
)
"""Rules of incidents about what the other parts say as it is now."""
TONE_OF = {"invalid": BAD, "open": BAD, "cooling": WARN, "expiring": WARN}


@dataclass(frozen=True, slots=True)
class Item:
    tone: str
    """`bad`, `warn` or `todo`."""
    sentence: str
    href: str
    link: str


def callback(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """unfold asks it for what the index page shows."""
    try:
        viewer = viewer_of(request)
    except AccessRefused:
        return context
    return context | {"attention": attention(viewer)}


def attention(viewer: Viewer) -> list[Item]:
    found = [item for part in PARTS for item in part(viewer)]
    return sorted(found, key=lambda item: RANKS.index(item.tone))[:SHOWN_MAX]


def _ledger(viewer: Viewer) -> Iterator[Item]:
    if viewer.domain_ids is None and (gap := proof()["cluster"]["gap"]):
        sentence = f"The ledger has a gap: {gap:,} accepted requests are neither stored, nor in flight, nor spooled."
        yield Item(BAD, sentence, reverse("dashboard:system"), "The ledger")


def _credentials(viewer: Viewer) -> Iterator[Item]:
    found = credentials.credentials(viewer, OfCredential(domain=None, credential=None))["credentials"]
    troubled = [each for each in found if each["is_active"] and each["status"] in TONE_OF]
    for each in troubled[:OF_EACH_MAX]:
        sentence = f"The credential “{each['name']}” is {each['status']}. {each['reason']}"
        href = reverse("admin:accounts_credential_change", args=[each["id"]])
        yield Item(TONE_OF[each["status"]], sentence, href, "Look at it")
    if not found and not settings.UPSTREAM.default_api_key:
        sentence = "There is no credential: requests are refused, unless callers bring their own."
        yield Item(TODO, sentence, reverse("admin:accounts_credential_add"), "Add one")


def _incidents(viewer: Viewer) -> Iterator[Item]:
    rows = Incident.objects.filter(seen(viewer, None)).exclude(state=IncidentState.RESOLVED)
    rows = rows.exclude(rule__in=SHOWN_ANYWAY)
    for row in rows.order_by("-updated_at")[:OF_EACH_MAX]:
        tone = BAD if row.severity == "critical" else WARN
        yield Item(tone, row.sentence, reverse("admin:telemetry_incident_change", args=[row.pk]), "The incident")


def _budgets(viewer: Viewer) -> Iterator[Item]:
    for budget in limits.budgets(viewer, OfDomain(domain=None))["budgets"]:
        share = max((use["share"] or 0 for use in budget["use"]), default=0)
        if budget["is_active"] and share >= SPENT_SHARE:
            sentence = f"{share:.0%} of the budget “{budget['name']}” is spent."
            href = reverse("admin:accounts_budget_change", args=[budget["id"]])
            yield Item(BAD if share >= 1 else WARN, sentence, href, "The budget")


def _deliveries(viewer: Viewer) -> Iterator[Item]:
    lost = Q(state=DeliveryState.FAILED, settled_at__gte=timezone.now() - LATELY)
    rows = Delivery.objects.filter(seen(viewer, None), lost).order_by()
    place = F("target_label") if viewer.sees_all else Value("")  # the installation's places are not everybody's
    for row in rows.values(place=place).annotate(count=Count("id"))[:OF_EACH_MAX]:
        if not row["count"]:
            continue
        sentence = f"{row['count']:,} notices did not reach {row['place'] or 'their target'} within the last day."
        yield Item(WARN, sentence, reverse("admin:telemetry_delivery_changelist"), "Deliveries")


def _first_steps(viewer: Viewer) -> Iterator[Item]:
    if not ClientKey.objects.filter(seen(viewer, None), revoked_at=None).exists():
        yield Item(
            TODO,
            "No program can call yet: there is no client key.",
            reverse("admin:accounts_clientkey_add"),
            "Issue one",
        )
    elif newest_request(viewer) is None:
        yield Item(TODO, "No request has come yet.", reverse("dashboard:start"), "Send a first one")


PARTS = (_ledger, _credentials, _incidents, _budgets, _deliveries, _first_steps)
