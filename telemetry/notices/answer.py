"""What has become of one attempt to tell something, whoever was told."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Result(Enum):
    ARRIVED = "arrived"
    LATER = "later"
    """It did not arrive, and may the next time."""
    REFUSED = "refused"
    """This message will never be taken; others may."""
    BARRED = "barred"
    """Nothing will be taken there until somebody changes something."""
    UNKNOWN = "unknown"
    """It was sent, and no answer came."""


@dataclass(frozen=True, slots=True)
class Answer:
    result: Result
    status: int | None = None
    error: str = ""
    """In our words, or a code of the other side's: never what may hold an address or a key."""
    wait_seconds: float | None = None
    """What the other side asked for."""
    message_ts: str = ""
    message_channel: str = ""


BARRING_STATUSES = (401, 403, 404, 410)
LATER_STATUSES = (408, 425, 429)
TOO_MANY = 429
WAIT_MAX_SECONDS = 3600.0


def by_status(status: int, error: str = "", headers: Mapping[str, str] | None = None) -> Answer:
    """What an HTTP status means where there is nothing better to go by."""
    error = f"HTTP {status} {error}".strip()
    if status < 300:
        return Answer(Result.ARRIVED, status)
    if status in LATER_STATUSES or status >= 500:
        return Answer(Result.LATER, status, error, _wait_seconds(headers or {}))
    is_barred = status in BARRING_STATUSES or status < 400  # a redirect: the address is not the right one
    return Answer(Result.BARRED if is_barred else Result.REFUSED, status, error)


def _wait_seconds(headers: Mapping[str, str]) -> float | None:
    """Of Retry-After, which Slack gives in seconds."""
    value = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return min(float(value), WAIT_MAX_SECONDS) if value.strip().isdecimal() else None
