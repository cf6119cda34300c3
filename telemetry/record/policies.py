"""What each domain wants done to the stored copy of its bodies, as the register says at the moment of storing."""

from collections.abc import Callable
from functools import lru_cache
from uuid import UUID

from accounts.privacy import Storage
from accounts.register import DomainFacts, Snapshot
from telemetry.record.redaction import Redactor


class Policies:
    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._of: Snapshot | None = None
        self._by_id: dict[UUID, DomainFacts] = {}

    def redactor_of(self, domain_id: UUID) -> Redactor | None:
        """None where bodies are kept as they are."""
        snapshot = self._snapshot()
        if snapshot is not self._of:
            self._of = snapshot
            self._by_id = {domain.id: domain for domain in snapshot.domains.values()}
        domain = self._by_id.get(domain_id)
        if domain is None or domain.storage is Storage.FULL:
            return None
        return _redactor(domain.redaction_patterns)


@lru_cache(maxsize=256)
def _redactor(patterns: tuple[str, ...]) -> Redactor:
    return Redactor(patterns)
