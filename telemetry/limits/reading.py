"""How full meters are, for whoever looks: the serving process at its own memory, others at what it wrote down, and all
at Redis where that is shared."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from django.conf import settings
from redis.exceptions import RedisError

from telemetry.limits import asking, statefile
from telemetry.limits.memory import MemoryStore, State
from telemetry.limits.meters import Dimension, Meter
from telemetry.limits.store import Use

_serving: MemoryStore | None = None


class Reading(NamedTuple):
    uses: list[Use]
    source: str
    """Where it is from, in words."""
    is_live: bool = True


def serve_from(store: MemoryStore | None) -> None:
    """Says whose memory counts in this process."""
    global _serving
    _serving = store


def uses(meters: Sequence[Meter]) -> Reading:
    """Never raises: where nobody can say, nothing is known."""
    if settings.REDIS_URL:
        try:
            return Reading(asking.read_now(meters), "shared by all processes, from Redis")
        except (RedisError, OSError):
            return _unknown(meters, "Redis does not answer: each process counts for itself until it does")
    if _serving is not None:
        return Reading(_of(_serving.state([meter.key for meter in meters]), meters), "of the one serving process")
    if (state := statefile.read(settings.NEXUS_DATA)) is None:
        return _unknown(meters, "no process has served here yet")
    return Reading(_of(state, meters), f"as the serving process wrote it down {_ago(state)} s ago")


def _of(state: State, meters: Sequence[Meter]) -> list[Use]:
    store = MemoryStore()
    store.restore(state)
    return [use if use.meter.is_window else _noted(use.meter, state) for use in store.read_now(meters)]


def _noted(meter: Meter, state: State) -> Use:
    held, spent = state.held.get(meter.key, 0), state.spent.get(meter.key)
    if meter.dimension is Dimension.CONCURRENT:
        return Use(meter, held, held)
    return Use(meter, (spent or 0) + held, held, is_known=spent is not None)


def _unknown(meters: Sequence[Meter], why: str) -> Reading:
    return Reading([Use(meter, 0, is_known=False) for meter in meters], why, is_live=False)


def _ago(state: State) -> int:
    return max(0, round(datetime.now(UTC).timestamp() - state.at_ms / 1000))
