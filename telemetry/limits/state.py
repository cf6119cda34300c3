"""What a store in memory knows, as it is kept in a file and read by other processes. No Django."""

import msgspec

from telemetry.limits.meters import Dimension

FORMAT = 1


class MeterState(msgspec.Struct, frozen=True, array_like=True):
    key: str
    dimension: Dimension
    window_ms: int
    slots: dict[int, int]
    """Of a window: what was used in each."""
    spent: int | None
    """Of a budget, in units; None: not known."""
    held: int
    """Places or money that running requests hold."""


class State(msgspec.Struct, frozen=True, array_like=True):
    format: int
    at_ms: int
    """When, by the clock of the store."""
    meters: list[MeterState]
