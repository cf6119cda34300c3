"""Which credential something at the API was made with, kept in the database: a message batch is asked for a day later,
a file for months."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from telemetry.models import BatchRow, Belonging


def keep(made: Mapping[str, tuple[UUID | None, UUID]]) -> None:
    """Ids at the API, with domain and credential. Idempotent."""
    rows = [
        Belonging(id=made_id, domain_id=domain_id, credential_id=credential_id)
        for made_id, (domain_id, credential_id) in made.items()
    ]
    Belonging.objects.bulk_create(rows, ignore_conflicts=True)


def find(made_ids: Iterable[str], domain_id: UUID) -> dict[str, UUID]:
    """Credentials by id, of what this domain made."""
    wanted = list(made_ids)
    batches = BatchRow.objects.filter(id__in=wanted, domain_id=domain_id).exclude(credential=None)
    found = dict(batches.values_list("id", "credential_id"))
    kept = Belonging.objects.filter(id__in=wanted, domain_id=domain_id)
    return {**found, **dict(kept.values_list("id", "credential_id"))}
