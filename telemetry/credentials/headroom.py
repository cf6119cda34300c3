"""How much of its limits a credential has left, as the API's own headers say (facts/claude-api.md 3.2 to 3.4).

Windows are read by the shape of their names, not from a list: new ones appear, and the one that binds may be one that
nobody knew. What the API does not say is unknown, which is not 0. No Django.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

_HEADER = re.compile(
    rb"anthropic-(?:ratelimit-)?(?P<name>[a-z0-9_-]+?)-(?P<field>limit|remaining|reset|utilization|status)"
)
_STARTS = (b"anthropic-ratelimit-", b"anthropic-priority-", b"anthropic-fast-")
_EXHAUSTED = frozenset({"rejected", "rate_limited", "blocked", "payment_required"})
_ASIDE = ("priority-", "fast-", "unified-overage")
"""Lanes of their own: ordinary requests do not need them."""
WINDOWS_MAX = 40

Headers = Sequence[tuple[bytes, bytes]]


class Window(msgspec.Struct, frozen=True, omit_defaults=True):
    """One limit of the API, such as `input-tokens` or `unified-5h`."""

    name: str
    limit: float | None = None
    remaining: float | None = None
    utilization: float | None = None
    """0 to 1, of subscriptions."""
    resets_at: float | None = None
    """Seconds since 1970."""
    status: str = ""

    @property
    def left(self) -> float | None:
        """The share that is left, 0 to 1; None: the API does not say."""
        if self.status in _EXHAUSTED:
            return 0.0
        if self.limit and self.remaining is not None:
            return min(1.0, max(0.0, self.remaining / self.limit))
        if self.utilization is not None:
            return min(1.0, max(0.0, 1 - self.utilization))
        return None

    def is_over(self, now: float) -> bool:
        return self.resets_at is not None and self.resets_at <= now


def windows(headers: Headers) -> tuple[Window, ...]:
    """What an answer says of limits; names of headers are in lower case."""
    found: dict[str, dict[str, float | str]] = {}
    for header, value in headers:
        if not header.startswith(_STARTS) or not (match := _HEADER.fullmatch(header)):
            continue
        field = match["field"].decode()
        read = value.decode("latin-1").strip()[:40] if field == "status" else _number(field, value)
        if read is not None and (len(found) < WINDOWS_MAX or match["name"].decode() in found):
            found.setdefault(match["name"].decode()[:60], {})["resets_at" if field == "reset" else field] = read
    return tuple(msgspec.convert({"name": name, **fields}, Window) for name, fields in found.items())


def headroom(found: Iterable[Window], now: float) -> float | None:
    """The smallest share that is left, 0 to 1; None where nothing is known."""
    shares = [
        left
        for window in found
        if not window.name.startswith(_ASIDE) and not window.is_over(now) and (left := window.left) is not None
    ]
    return min(shares, default=None)


def frees_at(headers: Headers, now: float) -> float | None:
    """When a request that got 429 may come again, in seconds since 1970; None where the API does not say."""
    named = dict(headers)
    if (milliseconds := _float(named.get(b"retry-after-ms", b""))) is not None:
        return now + milliseconds / 1000
    if (seconds := retry_after_seconds(named.get(b"retry-after", b""), now)) is not None:
        return now + seconds
    resets = [w.resets_at for w in windows(headers) if w.left == 0 and w.resets_at is not None and w.resets_at > now]
    return max(resets, default=None)


def retry_after_seconds(value: bytes, now: float) -> float | None:
    """Seconds, or an HTTP date."""
    if (seconds := _float(value)) is not None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value.decode("latin-1")).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def _number(field: str, value: bytes) -> float | None:
    if (number := _float(value)) is not None:
        return number
    return _moment(value) if field == "reset" else None


def _float(value: bytes) -> float | None:
    """Finite, and not below 0."""
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < 1e15 else None


def _moment(value: bytes) -> float | None:
    """RFC 3339."""
    try:
        moment = datetime.fromisoformat(value.decode("latin-1").strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
