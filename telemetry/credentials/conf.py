"""When a credential is left alone for a while, as frozen values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitConf:
    """The original's circuit breaker, for each credential."""

    failure_threshold: int = 5
    """Failures in a row that open it."""
    volume_threshold: int = 10
    """Calls within a minute from which on the share of failures counts."""
    error_percentage: int = 50
    """Of the calls within a minute: so many failures open it too."""
    open_seconds: float = 30
    """How long it stays open before it is tried again."""
    success_threshold: int = 3
    """Successes that close it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoolingConf:
    """After the API has said 429."""

    max_seconds: float = 3600
    """A limit that frees later is tried once in that time: the API may have changed its mind."""
    unsaid_seconds: float = 10
    """Where the API does not say how long; twice as long with each time in a row, up to `max_seconds`."""
