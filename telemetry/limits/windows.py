"""A sliding window in slots. Never more than the limit in any span of the window's length: the slot in which the span
began still counts as a whole. What falls out of it does so up to a slot late."""

from telemetry.limits.meters import SLOTS


class Window:
    __slots__ = ("newest", "slots", "total")

    def __init__(self) -> None:
        self.slots: dict[int, int] = {}
        self.total = 0
        self.newest = 0

    def advance(self, slot: int) -> None:
        """Drops what is older than the window that ends with this slot. Time that runs backwards changes nothing."""
        if slot <= self.newest:
            return
        self.newest = slot
        if not self.slots:
            return
        for old in [each for each in self.slots if each < slot - SLOTS]:
            self.total -= self.slots.pop(old)

    def add(self, amount: int, slot: int | None = None) -> None:
        """To the newest slot, or takes back (a negative amount) from an older one what is still there of it."""
        slot = self.newest if slot is None else min(slot, self.newest)
        had = self.slots.get(slot, 0)
        change = max(amount, -had)
        if change == 0:
            return
        self.total += change
        if had + change:
            self.slots[slot] = had + change
        else:
            self.slots.pop(slot, None)

    def restore(self, slots: dict[int, int]) -> None:
        """As they were; what has fallen out since then does so when time goes on."""
        self.slots = dict(sorted(slots.items()))
        self.total = sum(slots.values())
        self.newest = max(slots)

    def frees_at_slot(self, room: int) -> int:
        """The first slot at which the total is at most *room*, if nothing else comes."""
        total, at = self.total, self.newest
        for slot in sorted(self.slots):
            if total <= room:
                break
            total -= self.slots[slot]
            at = slot + SLOTS + 1
        return at
