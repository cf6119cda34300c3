"""The Claude API does not take a credential. One that is marked invalid for that is told by `credential_invalid`."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from accounts.ids import first_id_at
from accounts.models import CredentialStanding
from telemetry.models import ExchangeRow, Limits, Outcome, Severity
from telemetry.notices.finding import Finding
from telemetry.notices.rules import credentials
from telemetry.notices.rules.rule import WatchedRule


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    rows = credentials.errors(now, limits.window, 401, 403).values_list("credential_id", "id", "status")
    refusals: dict[UUID | None, list[tuple[UUID, int | None]]] = {}
    for credential_id, row_id, status in rows[: credentials.ROWS_MAX]:
        refusals.setdefault(credential_id, []).append((row_id, status))
    named = credentials.named(refusals.keys() - _marked(refusals))
    for refused_id, refused in refusals.items():
        credential = named.get(credentials.key_of(refused_id))
        newest, status = refused[0]
        if credential is None or len(refused) < limits.minimum or _works_since(refused_id, newest, now):
            continue
        yield Finding(
            rule=RULE.name,
            object=credential.object,
            label=f"Credential {credential.label} is refused",
            domain_id=credential.domain_id,
            severity=limits.severity,
            sentence=f"The Claude API refuses the credential {credential.label}.",
            advice="Renew it in the admin under Credentials, or in CLAUDE_API_KEY, or switch it off.",
            facts={"status": status, "refused": len(refused)},
        )


def _marked(credential_ids: Iterable[UUID | None]) -> set[UUID | None]:
    wanted = [each for each in credential_ids if each]
    marked = CredentialStanding.objects.filter(credential_id__in=wanted, invalid_since__isnull=False)
    return set(marked.values_list("credential_id", flat=True))


def _works_since(credential_id: UUID | None, refused: UUID, now: datetime) -> bool:
    later = ExchangeRow.objects.filter(id__gt=refused, id__lt=first_id_at(now), outcome=Outcome.COMPLETED)
    if credential_id is None:
        return later.filter(credential__isnull=True, credential_source=credentials.ENVIRONMENT).exists()
    return later.filter(credential_id=credential_id).exists()


RULE = WatchedRule(
    "credential_refused",
    "The Claude API refuses a credential",
    Limits(window=timedelta(minutes=5), severity=Severity.CRITICAL),
    find,
    "Minimum: answers with 401 or 403 in the window, and none that is well since.",
)
