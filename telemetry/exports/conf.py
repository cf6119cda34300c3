"""The settings of the telemetry endpoint."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConf:
    endpoint: str = field(default="", repr=False)
    """Empty: nothing is sent, and nothing is entered. It may hold a token."""
    batch_size: int = 100
    """1: each exchange is an object of its own, as the original sent it; more: arrays of them."""
    max_waiting: int = 100_000
    """Beyond it the oldest are given up."""
    timeout_seconds: float = 5
