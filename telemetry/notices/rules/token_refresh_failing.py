"""The token of a credential cannot be renewed. As long as it lasts, requests do not notice."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from accounts.models import OAuthToken
from telemetry.models import Limits, Severity
from telemetry.notices.finding import Finding
from telemetry.notices.rules.rule import WatchedRule


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    failing = OAuthToken.objects.filter(
        failures__gte=max(1, limits.minimum), needs_login=False, credential__is_active=True
    )
    for token in failing.select_related("credential__domain").order_by("failed_at"):
        credential = token.credential
        is_over = token.expires_at is None or token.expires_at <= now
        yield Finding(
            rule=RULE.name,
            object=str(credential.id),
            label=f"The token of credential {credential.name} of {credential.domain.host} cannot be renewed",
            domain_id=credential.domain_id,
            severity=Severity.CRITICAL if is_over else limits.severity,
            sentence=f"The token of the credential {credential.name} cannot be renewed: {token.failure}",
            advice="Look at the token endpoint and at docs/credentials.md. It is tried again and again.",
            facts={
                "in_a_row": token.failures,
                "ends_at": token.expires_at.isoformat() if token.expires_at else None,
                "owner": credential.owner,
            },
        )


RULE = WatchedRule(
    "token_refresh_failing",
    "A token cannot be renewed",
    Limits(window=timedelta(minutes=10), severity=Severity.WARNING, minimum=2),
    find,
    "Minimum: failures in a row. Critical when the token has ended.",
)
