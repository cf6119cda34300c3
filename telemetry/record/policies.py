"""What each domain wants done to the stored copy of its bodies, as the register says at the moment of storing."""

from collections.abc import Callable
from functools import lru_cache
from uuid import UUID

from accounts.facts import DomainFacts, Snapshot
from accounts.privacy import Storage
from telemetry.record.redaction import Redactor
from telemetry.record.shelf import AS_IT_CAME, Policy


class Policies:
    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._of: Snapshot | None = None
        self._by_id: dict[UUID, DomainFacts] = {}

    def of(self, domain_id: UUID) -> Policy:
        snapshot = self._snapshot()
        if snapshot is not self._of:
            self._of = snapshot
            self._by_id = {domain.id: domain for domain in snapshot.domains.values()}
        domain = self._by_id.get(domain_id)
        if domain is None:
            return AS_IT_CAME  # it is gone; what was asked under redaction says so itself
        is_redacted = domain.storage is Storage.REDACTED
        return Policy(domain.storage, _redactor(domain.redaction_patterns) if is_redacted else None)


@lru_cache(maxsize=256)
def _redactor(patterns: tuple[str, ...]) -> Redactor:
    return Redactor(patterns)
