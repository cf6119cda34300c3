"""A client key that somebody uses ends soon."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from accounts.models import ClientKey
from telemetry.models import Limits, Severity
from telemetry.notices.finding import Finding
from telemetry.notices.rules.rule import WatchedRule


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    keys = ClientKey.objects.filter(
        expires_at__gt=now,
        expires_at__lte=now + limits.window,
        last_used_at__gte=now - limits.window,
        revoked_at__isnull=True,
        domain__is_active=True,
    )
    for key in keys.select_related("domain").order_by("expires_at"):
        yield Finding(
            rule=RULE.name,
            object=str(key.id),
            label=f"Client key {key.name} of {key.domain.host} ends soon",
            domain_id=key.domain_id,
            severity=limits.severity,
            sentence=f"The client key {key} ends on {key.expires_at:%Y-%m-%d at %H:%M} UTC, and it is in use.",
            advice="Issue a new one in time, or give it a later end, in the admin under Client keys.",
            facts={"ends_at": key.expires_at.isoformat(), "key": key.name},
        )


RULE = WatchedRule(
    "client_key_expiring",
    "A client key in use ends soon",
    Limits(window=timedelta(days=7), severity=Severity.WARNING),
    find,
    "Window: how long before its end, and how lately it was used.",
)
