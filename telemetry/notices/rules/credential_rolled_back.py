"""A credential that was to replace another one step by step was refused by the API, and has lost its share."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from accounts.models import CredentialStanding
from telemetry.models import Limits, Severity
from telemetry.notices.finding import Finding
from telemetry.notices.rules.rule import WatchedRule


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    rolled_back = CredentialStanding.objects.filter(
        rolled_back_at__isnull=False,
        credential__is_active=True,
        credential__replaces__isnull=False,
        credential__traffic_percent=0,
    )
    rows = rolled_back.select_related("credential__domain", "credential__replaces").order_by("rolled_back_at")
    for standing in rows:
        credential = standing.credential
        replaced = credential.replaces.name if credential.replaces else ""
        yield Finding(
            rule=RULE.name,
            object=str(credential.id),
            label=f"Credential {credential.name} of {credential.domain.host} was rolled back",
            domain_id=credential.domain_id,
            severity=limits.severity,
            sentence=f"The credential {credential.name} gets no sessions of {replaced} any more: "
            f"{standing.rolled_back_reason}",
            advice="Check it in the admin under Credentials, then give it a share again, or let it go.",
            facts={"since": f"{standing.rolled_back_at:%Y-%m-%d %H:%M} UTC", "owner": credential.owner},
        )


RULE = WatchedRule(
    "credential_rolled_back",
    "A replacement was rolled back",
    Limits(window=timedelta(minutes=10), severity=Severity.WARNING),
    find,
    "The numbers mean nothing here.",
)
