"""Tells a client what is left of its limits, beside the upstream's own headers, which stay as they are."""

from datetime import UTC, datetime

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
    name = f"{PREFIX}{meter.dimension.replace('_', '-')}"
    left = max(0, meter.limit - used)
    said = [("limit", str(meter.limit)), ("remaining", str(left))]
    if meter.dimension is Dimension.MONEY:
        said = [("limit", f"{as_usd(meter.limit):.4f}"), ("remaining", f"{as_usd(left):.4f}")]
    if meter.is_window:
        # Until all of it is free again, if nothing else comes: as the API's own headers mean it.
        said.append(("reset", _moment(at_ms + meter.window_ms + meter.slot_ms if used else at_ms)))
    elif meter.account is not None and meter.account.ends_at is not None:
        said.append(("reset", f"{meter.account.ends_at:%Y-%m-%dT%H:%M:%SZ}"))
    return [(f"{name}-{what}".encode(), value.encode()) for what, value in said]


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
