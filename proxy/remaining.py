"""Tells a client what is left of its limits, beside the upstream's own headers, which stay as they are."""

from datetime import UTC, datetime
from functools import lru_cache

from proxy.admission import Admission
from proxy.headers import Headers
from telemetry.limits.meters import Dimension, Meter, as_usd

PREFIX = "x-nexus-ratelimit-"


def remaining(admission: Admission) -> Headers:
    """Of each dimension the limit of which the smallest share is left."""
    tightest: dict[Dimension, tuple[Meter, int]] = {}
    for meter, used in zip(admission.want.meters, admission.granted.used, strict=True):
        known = tightest.get(meter.dimension)
        if known is None or used * known[0].limit > known[1] * meter.limit:
            tightest[meter.dimension] = (meter, used)
    return [header for meter, used in tightest.values() for header in _headers(meter, used, admission.granted.at_ms)]


def _headers(meter: Meter, used: int, at_ms: int) -> Headers:
    limit_name, remaining_name, reset_name = _names(meter.dimension)
    left = max(0, meter.limit - used)
    if meter.dimension is Dimension.MONEY:
        said = [(limit_name, _usd(meter.limit)), (remaining_name, _usd(left))]
    else:
        said = [(limit_name, b"%d" % meter.limit), (remaining_name, b"%d" % left)]
    if meter.is_window:
        # Until all of it is free again, if nothing else comes: as the API's own headers mean it.
        said.append((reset_name, _moment((at_ms + meter.window_ms + meter.slot_ms if used else at_ms) // 1000)))
    elif meter.account is not None and meter.account.ends_at is not None:
        said.append((reset_name, _moment(int(meter.account.ends_at.timestamp()))))
    return said


def _usd(units: int) -> bytes:
    return f"{as_usd(units):.4f}".encode()


@lru_cache(maxsize=len(Dimension))
def _names(dimension: Dimension) -> tuple[bytes, bytes, bytes]:
    name = PREFIX + dimension.replace("_", "-")
    return f"{name}-limit".encode(), f"{name}-remaining".encode(), f"{name}-reset".encode()


@lru_cache(maxsize=64)
def _moment(seconds: int) -> bytes:
    """Many are told in the same second."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}".encode()
