"""What ids of the register are called, as this process knows it."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from accounts.facts import Snapshot


class Names:
    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._names: dict[Any, str] = {}
        self._named: Snapshot | None = None

    def learn(self) -> None:
        """Once for each batch: a register that has not changed costs nothing."""
        snapshot = self._snapshot()
        if snapshot is self._named:
            return
        keys = (key for keys in snapshot.keys_by_prefix.values() for key in keys)
        credentials = (each for found in snapshot.credentials.values() for each in found)
        self._named = snapshot
        self._names = {
            **{domain.id: domain.host for domain in snapshot.domains.values()},
            **{key.id: key.name for key in keys},
            **{credential.id: credential.name for credential in credentials},
        }

    def of(self, row_id: UUID | None) -> str | None:
        return None if row_id is None else self._names.get(row_id) or str(row_id)
