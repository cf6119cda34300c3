"""What a store of limits is asked, and what it says. There are two: one in the memory of one process
(`telemetry.limits.memory`), one in Redis that many share (`telemetry.limits.shared`). Both follow the same rules:

- A window of requests admits as long as the sum stays within the limit. A window of tokens, and a budget, admit as long
  as there is room at all: how large a request is, only its end tells for sure.
- All meters of a request admit it, or nothing of it is counted.
- What runs holds its place and its estimate of money under a lease, which ends `LEASE_MS` after it was last renewed.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from telemetry.limits.meters import Meter


class Want(msgspec.Struct, frozen=True):
    """What one request asks for: of each meter an amount, in its unit."""

    id: UUID
    meters: tuple[Meter, ...]
    amounts: tuple[int, ...]


class Granted(msgspec.Struct, frozen=True):
    at_ms: int
    """Since 1970, by the clock of the store."""
    used: tuple[int, ...]
    """Of each meter, with this request."""


class Denied(msgspec.Struct, frozen=True):
    at_ms: int
    index: int
    """Of the first meter that did not admit it."""
    used: int
    held: int
    """Of that, by requests that run: estimates of money, which may turn out to be less."""
    frees_in_ms: int
    """Until there is room again, if nothing else comes; 0: that is not known."""


class Unknown(msgspec.Struct, frozen=True):
    """Budgets whose spending the store does not know (any more): say it by `seed`, then ask again."""

    meters: tuple[Meter, ...]


Reply = Granted | Denied | Unknown


class Settlement(msgspec.Struct, frozen=True):
    """How a granted request ended: of each of its meters what it really used, which replaces what it asked for."""

    want: Want
    granted_at_ms: int
    used: tuple[int, ...]


class Use(msgspec.Struct, frozen=True):
    """How full a meter is."""

    meter: Meter
    used: int
    held: int = 0
    """Of that, by requests that run."""
    frees_in_ms: int = 0
    """Until there is room again where it is full."""
    is_known: bool = True
    """False: a budget of which the store knows nothing yet."""


class Seed(msgspec.Struct, frozen=True):
    """What the record says of a budget's meter: the money spent, as one snapshot of the database knows it."""

    meter: Meter
    spent: int
    """In units."""
    included: frozenset[UUID]
    """Of the exchanges that the store called recent (`Store.recent`), those that are in `spent` already."""


class Store(Protocol):
    @property
    def is_shared(self) -> bool:
        """Whether all processes count together now."""
        ...

    async def reserve(self, want: Want) -> Reply: ...

    def settle(self, settlement: Settlement) -> None:
        """Soon, and without waiting. A settlement that comes twice counts once, where money is concerned."""
        ...

    async def renew(self, running: Sequence[Want]) -> None:
        """Says that these still run. What is lost of them (Redis was restarted) is held again."""
        ...

    async def recent(self, meter: Meter) -> dict[UUID, int]:
        """The exchanges of the last minute or two that were settled on a budget's meter, and what they cost."""
        ...

    def unverified(self) -> list[Meter]:
        """Lazy meters that count from 0 and of which the record has not been asked yet: each is named once."""
        ...

    async def claim(self, meter: Meter, seconds: float) -> bool:
        """Whether it is for this process to ask the record; for so long it is for no other."""
        ...

    async def seed(self, seeds: Iterable[Seed]) -> None:
        """Sets what is spent: what the record knows, and what is recent and not in the record yet."""
        ...

    async def read(self, meters: Sequence[Meter]) -> list[Use]: ...
