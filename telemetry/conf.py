"""The settings of the record as frozen values that check themselves."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordConf:
    """How exchanges travel from memory to the database."""

    store_bodies: bool = True
    batch_size: int = 500
    batch_seconds: float = 0.25
    queue_max_exchanges: int = 50_000
    """Beyond it new exchanges are dropped and counted: memory is finite while the database is away."""
    queue_max_bytes: int = 256_000_000
    """Beyond it bodies are dropped first, rows stay."""
    flush_seconds: float = 5
    """How long a stopping process waits for the database to take what is queued."""
    retain_bodies_days: int = 90
    """How long bodies are kept where their domain does not say; 0 is for ever."""
    retain_rows_days: int = 730
