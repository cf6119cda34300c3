"""The Claude API refuses a credential, which was confirmed: nothing is sent with it until it is taken again."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from accounts.models import CredentialStanding
from telemetry.models import Limits, Severity
from telemetry.notices.finding import Finding
from telemetry.notices.rules.rule import WatchedRule


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    marked = CredentialStanding.objects.filter(invalid_since__isnull=False, credential__is_active=True)
    for standing in marked.select_related("credential__domain").order_by("invalid_since"):
        credential = standing.credential
        yield Finding(
            rule=RULE.name,
            object=str(credential.id),
            label=f"Credential {credential.name} of {credential.domain.host} is invalid",
            domain_id=credential.domain_id,
            severity=limits.severity,
            sentence=f"Nothing is sent with the credential {credential.name} any more: {standing.invalid_reason}",
            advice="Give it a new key in the admin under Credentials, or sign in again. It is asked for every ten "
            "minutes, and comes back by itself when the API takes it.",
            facts={"since": f"{standing.invalid_since:%Y-%m-%d %H:%M} UTC", "owner": credential.owner},
        )


RULE = WatchedRule(
    "credential_invalid",
    "A credential is marked invalid",
    Limits(window=timedelta(minutes=10), severity=Severity.CRITICAL),
    find,
    "The numbers mean nothing here.",
)
