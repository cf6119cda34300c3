"""A credential ends soon. Those that do not say when they end never do: as long as the register has no such column,
this rule finds nothing."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from accounts.models import Credential
from telemetry.models import Limits, Severity
from telemetry.notices.finding import Finding
from telemetry.notices.rules.rule import WatchedRule

COLUMN = "expires_at"


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    if COLUMN not in {column.name for column in Credential._meta.get_fields()}:
        return ()
    until = {f"{COLUMN}__lte": now + limits.window}
    return expiring(Credential.objects.filter(is_active=True, **until).select_related("domain"), now, limits)


def expiring(credentials: Iterable[Any], now: datetime, limits: Limits) -> Iterator[Finding]:
    for credential in credentials:
        ends_at = getattr(credential, COLUMN, None)
        if ends_at is None or ends_at > now + limits.window:
            continue
        verb = "ends" if ends_at > now else "ended"
        yield Finding(
            rule=RULE.name,
            object=str(credential.id),
            label=f"Credential {credential.name} of {credential.domain.host} {verb}",
            domain_id=credential.domain_id,
            severity=limits.severity if ends_at > now else Severity.CRITICAL,
            sentence=f"The credential {credential.name} {verb} on {ends_at:%Y-%m-%d at %H:%M} UTC.",
            advice="Renew it in the admin under Credentials.",
            facts={"ends_at": ends_at.isoformat(), "owner": credential.owner},
        )


RULE = WatchedRule(
    "credential_expiring",
    "A credential ends soon",
    Limits(window=timedelta(days=7), severity=Severity.WARNING),
    find,
)
