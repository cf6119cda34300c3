"""How long things took, as counts in fixed buckets: unlike percentiles, these can be added up. No Django here."""

from collections.abc import Sequence

BOUNDS_MS = (50, 100, 200, 400, 700, 1_000, 2_000, 4_000, 7_000, 15_000, 30_000, 60_000, 180_000, 600_000)
"""A bucket holds what took as long as its bound, and longer than the bound before. A last one holds what is longer."""
BUCKETS = (*map(str, BOUNDS_MS), "more")


def columns(name: str) -> tuple[str, ...]:
    """Of a table that holds the histogram of that name."""
    return tuple(f"{name}_{bucket}" for bucket in BUCKETS)


def limits_ms(bucket: int) -> tuple[int | None, int | None]:
    """Longer than the first, not longer than the second."""
    return BOUNDS_MS[bucket - 1] if bucket else None, BOUNDS_MS[bucket] if bucket < len(BOUNDS_MS) else None


def percentile_ms(counts: Sequence[int], share: float) -> float | None:
    """What that share of all did not take longer than, as if the times of a bucket were spread evenly over it. Of the
    last bucket nothing is known but its beginning. None where nothing was counted."""
    rank, below = share * sum(counts), 0
    for bucket, count in enumerate(counts):
        if count and below + count >= rank:
            shorter, longer = limits_ms(bucket)
            shorter = shorter or 0
            return float(shorter) if longer is None else shorter + (longer - shorter) * (rank - below) / count
        below += count
    return None
