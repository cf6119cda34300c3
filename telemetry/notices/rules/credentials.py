"""Which credential an exchange was made with: one of the register, or the one of CLAUDE_API_KEY."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import QuerySet

from accounts.ids import first_id_at
from accounts.models import Credential
from telemetry.models import ExchangeRow, Outcome

ENVIRONMENT = "environment"
ROWS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Named:
    """A credential as people know it."""

    object: str
    label: str
    domain_id: UUID | None


def errors(now: datetime, window: timedelta, *statuses: int) -> "QuerySet[ExchangeRow]":
    """What the API answered so, with a credential of ours, the newest first."""
    rows = ExchangeRow.objects.filter(
        status__in=statuses, outcome=Outcome.API_ERROR, id__gte=first_id_at(now - window), id__lt=first_id_at(now)
    )
    return rows.exclude(credential_source="caller").order_by("-id")


def key_of(credential_id: UUID | None) -> str:
    return str(credential_id) if credential_id else ENVIRONMENT


def named(credential_ids: Iterable[UUID | None]) -> dict[str, Named]:
    """By their keys; without those that are switched off or gone."""
    wanted = set(credential_ids)
    rows = Credential.objects.filter(id__in=[each for each in wanted if each], is_active=True).select_related("domain")
    found = {str(row.id): Named(str(row.id), f"{row.name} of {row.domain.host}", row.domain_id) for row in rows}
    if None in wanted:
        found[ENVIRONMENT] = Named(ENVIRONMENT, "CLAUDE_API_KEY", None)
    return found
