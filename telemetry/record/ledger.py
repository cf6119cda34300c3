"""The proof: accepted = stored + in flight + spooled, for one process and for all. What is missing is the gap."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID

import msgspec

from telemetry.record.exchange import Closed


@dataclass(frozen=True, slots=True)
class Ledger:
    """Counts of exchanges, at one moment."""

    accepted: int
    """Entered: before the Claude API was called, or, for one that never got so far, when it ended."""
    stored: int
    """In the database, as the database confirmed."""
    in_flight: int
    spooled: int
    """Ended and not in the database yet: in the spool, or in memory while the spool cannot be written."""
    lost: int = 0
    """Known to be gone: what the log of its process names."""
    bodies_dropped: int = 0
    spooled_bytes: int = 0

    @property
    def gap(self) -> int:
        """0 when everything is accounted for."""
        return self.accepted - self.stored - self.in_flight - self.spooled


COUNTS = tuple(field.name for field in fields(Ledger))
"""Also columns of `LedgerRow`, by the same names."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What the row of a process in the ledger is to say once a batch is stored with it."""

    process_id: UUID
    node: str
    started_at: datetime
    accepted: int = 0
    """At least so many."""
    in_flight: int | None = None
    """None here and below: what it said before."""
    spooled: int | None = None
    spooled_bytes: int | None = None
    lost: int = 0
    """At least so many."""
    bodies_dropped: int = 0
    """At least so many."""
    ended_at: datetime | None = None


class Stored(msgspec.Struct, frozen=True):
    """What became of a batch."""

    total: int
    """How many exchanges of that process are in the database, all in all."""
    left_out: int = 0
    """How many of this batch the database cannot take at all."""


Store = Callable[[Sequence[Closed], Page], Stored]
"""Takes a batch, and what the ledger is to say with it. It may raise, and then gets the same again: it has to be
idempotent."""


def node_name() -> str:
    return socket.gethostname()[:100]
