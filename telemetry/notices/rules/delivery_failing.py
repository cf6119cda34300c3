"""A place to which notices go does not take them. This one reaches the other places at once, and that place itself when
it works again."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from django.db.models import Count, Min

from telemetry.models import Delivery, Limits, Severity, Target
from telemetry.models.notices import SLACK, State
from telemetry.notices.finding import Finding
from telemetry.notices.places import place_of
from telemetry.notices.routes import Routes
from telemetry.notices.rules.rule import WatchedRule

OUTBOX = "outbox"


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    failing = list(Target.objects.filter(failing_since__isnull=False))
    in_use = _in_use(Routes.load()) if failing else set()
    told = {target.id for target in failing if target.id in in_use}
    for target in failing:
        if target.id in told:
            yield _barred(target, limits)
    yield from _late(now, limits, told)


def _in_use(routes: Routes) -> set[str]:
    """Where something would go now: an address that was replaced does not matter any more."""
    sinks = [(SLACK, domain_id) for domain_id in (None, *routes.reach)] + [(hook, None) for hook in routes.hooks]
    places = (place_of(sink, domain_id, routes) for sink, domain_id in sinks)
    return {place.id for place in places if place is not None}


def _barred(target: Target, limits: Limits) -> Finding:
    return Finding(
        rule=RULE.name,
        object=target.id,
        label=f"Notices do not reach {target.label}",
        severity=limits.severity,
        sentence=f"Nothing is sent to {target.label} until somebody acts: {target.failing_reason}.",
        advice="Mend it there or in the settings, then let it be tried again in the admin under Targets.",
        facts={"since": f"{target.failing_since:%Y-%m-%d %H:%M} UTC"},
    )


def _late(now: datetime, limits: Limits, told: set[str]) -> Iterator[Finding]:
    """What was never tried waits for the worker; what was, for its target."""
    late = Delivery.objects.filter(state__in=(State.PENDING, State.SENDING), due_at__lt=now - limits.window)
    waiting = late.exclude(target__in=told).values("target", "target_label").order_by("target")
    for group in waiting.annotate(count=Count("id"), oldest=Min("due_at")):
        place = group["target_label"] or "where they should go"
        yield Finding(
            rule=RULE.name,
            object=group["target"] or OUTBOX,
            label=f"Notices wait for {place}",
            severity=limits.severity,
            sentence=f"Notices do not get to {place}.",
            advice="The admin names the last error under Deliveries and Targets.",
            facts={"waiting": group["count"], "oldest": f"{group['oldest']:%Y-%m-%d %H:%M} UTC"},
        )


RULE = WatchedRule(
    "delivery_failing",
    "Notices do not arrive",
    Limits(window=timedelta(minutes=15), severity=Severity.WARNING),
    find,
    "Window: how late a notice may be.",
)
