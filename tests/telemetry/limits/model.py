"""What a store of limits has to say, worked out the long way: lists of what happened, summed anew for each question."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from telemetry.limits.meters import LEASE_MS, SLOTS, Dimension, Meter
from telemetry.limits.store import Denied, Granted, Reply, Settlement, Unknown, Use, Want

SOON_MS = 1000


class Taken(NamedTuple):
    key: str
    slot: int
    amount: int


class Held(NamedTuple):
    key: str
    id: UUID
    amount: int
    ends_at_ms: int


class Paid(NamedTuple):
    key: str
    id: UUID
    cost: int
    at_ms: int


class Model:
    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000
        self.taken: list[Taken] = []
        self.held: list[Held] = []
        self.paid: list[Paid] = []
        self.spent_before: dict[str, int] = {}
        """Of each budget that was asked of the record: what it held before the first of our requests."""

    def reserve(self, want: Want) -> Reply:
        pairs = list(zip(want.meters, want.amounts, strict=True))
        if unknown := tuple(meter for meter in want.meters if not self.is_known(meter)):
            return Unknown(unknown)
        for index, (meter, amount) in enumerate(pairs):
            if not self._admits(meter, amount):
                used, held = self.used(meter), self.holds(meter)
                return Denied(self.now_ms, index, used, held, self._denied_for_ms(meter, amount))
        for meter, amount in pairs:
            if meter.is_window:
                self.taken.append(Taken(meter.key, self._slot(meter), amount))
            else:
                self._hold(meter, want.id, amount)
        return Granted(self.now_ms, tuple(self.used(meter) for meter in want.meters))

    def settle(self, settlement: Settlement) -> None:
        want = settlement.want
        for meter, asked, used in zip(want.meters, want.amounts, settlement.used, strict=True):
            if meter.is_window:
                self._correct(meter, used - asked, settlement.granted_at_ms // meter.slot_ms)
            self.held = [held for held in self.held if (held.key, held.id) != (meter.key, want.id)]
            if meter.account and not any((paid.key, paid.id) == (meter.key, want.id) for paid in self.paid):
                self.paid.append(Paid(meter.key, want.id, used, self.now_ms))

    def renew(self, running: Sequence[Want]) -> None:
        for want in running:
            for meter, amount in zip(want.meters, want.amounts, strict=True):
                if not meter.is_window:
                    self._hold(meter, want.id, amount)

    def read(self, meters: Sequence[Meter]) -> list[Use]:
        return [self._use(meter) for meter in meters]

    # --- Of one meter -------------------------------------------------------------------------------------------

    def is_known(self, meter: Meter) -> bool:
        return meter.account is None or meter.is_lazy or meter.key in self.spent_before

    def used(self, meter: Meter) -> int:
        if meter.is_window:
            return self._used_at(meter, self._slot(meter))
        return self.holds(meter) + (self.spent(meter) if meter.account else 0)

    def spent(self, meter: Meter) -> int:
        """0 where it is not known."""
        if not self.is_known(meter):
            return 0
        return self.spent_before.get(meter.key, 0) + sum(paid.cost for paid in self.payments(meter))

    def payments(self, meter: Meter) -> list[Paid]:
        return [paid for paid in self.paid if paid.key == meter.key]

    def holds(self, meter: Meter) -> int:
        return sum(held.amount for held in self.held if held.key == meter.key and held.ends_at_ms > self.now_ms)

    def _slot(self, meter: Meter) -> int:
        return self.now_ms // meter.slot_ms

    def _used_at(self, meter: Meter, slot: int) -> int:
        return sum(taken.amount for taken in self.taken if taken.key == meter.key and taken.slot >= slot - SLOTS)

    def _admits(self, meter: Meter, amount: int) -> bool:
        if meter.dimension in (Dimension.REQUESTS, Dimension.CONCURRENT):
            return self.used(meter) + amount <= meter.limit
        return self.used(meter) < meter.limit

    def _denied_for_ms(self, meter: Meter, amount: int) -> int:
        if meter.is_window:
            return self._room_in_ms(meter, meter.limit - (amount if meter.dimension is Dimension.REQUESTS else 1))
        return 0 if meter.account and self.spent(meter) >= meter.limit else SOON_MS

    def _room_in_ms(self, meter: Meter, room: int) -> int:
        slot = self._slot(meter)
        while self._used_at(meter, slot) > room:
            slot += 1
        return slot * meter.slot_ms - self.now_ms

    def _use(self, meter: Meter) -> Use:
        used = self.used(meter)
        if not meter.is_window:
            return Use(meter, used, self.holds(meter), is_known=self.is_known(meter))
        return Use(meter, used, frees_in_ms=self._room_in_ms(meter, meter.limit - 1) if used >= meter.limit else 0)

    # --- What happens -------------------------------------------------------------------------------------------

    def _hold(self, meter: Meter, request_id: UUID, amount: int) -> None:
        self.held = [held for held in self.held if (held.key, held.id) != (meter.key, request_id)]
        self.held.append(Held(meter.key, request_id, amount, self.now_ms + LEASE_MS))

    def _correct(self, meter: Meter, change: int, slot: int) -> None:
        """No more is given back than the slot holds: where a settlement comes twice, or after Redis lost it."""
        if change > 0:
            self.taken.append(Taken(meter.key, self._slot(meter), change))
        else:
            there = sum(taken.amount for taken in self.taken if (taken.key, taken.slot) == (meter.key, slot))
            self.taken.append(Taken(meter.key, slot, max(change, -there)))
