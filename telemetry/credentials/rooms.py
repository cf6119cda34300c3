"""What the API has said it leaves a credential of its limits, a line for each family of models and window."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from telemetry.credentials.headroom import Window
from telemetry.credentials.reading import Standing
from telemetry.credentials.status import moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    family: str
    """Of models; empty: what is about none, such as a list."""
    window: str
    left: float
    """0 to 1."""
    remaining: float | None
    limit: float | None
    resets_at: datetime | None
    said_at: datetime | None

    @property
    def percent_used(self) -> int:
        return round(100 * (1 - self.left))

    @property
    def percent_left(self) -> int:
        return 100 - self.percent_used

    @property
    def figures(self) -> str:
        """Empty where the API tells shares only."""
        if self.limit is None or self.remaining is None:
            return ""
        return f"{self.remaining:,.0f} of {self.limit:,.0f} left"

    def as_dict(self) -> dict[str, Any]:
        return {
            "family": self.family or None,
            "window": self.window,
            "left": round(self.left, 4),
            "remaining": self.remaining,
            "limit": self.limit,
            "resets_at": self.resets_at,
            "said_at": self.said_at,
        }


def rooms(found: Standing, now: float) -> list[Room]:
    """The tightest first. What has been reset since is not known any more, and what the API does not say never was."""
    each = (
        room for family, limits in found.limits.items() for room in _rooms(family, limits.windows, limits.said_at, now)
    )
    return sorted(each, key=lambda room: (room.left, room.family, room.window))


def of_answer(windows: Iterable[Window], now: float) -> list[Room]:
    """Of one that has just come."""
    return sorted(_rooms("", windows, now, now), key=lambda room: (room.left, room.window))


def _rooms(family: str, windows: Iterable[Window], said_at: float, now: float) -> list[Room]:
    return [
        Room(
            family=family,
            window=window.name,
            left=left,
            remaining=window.remaining,
            limit=window.limit,
            resets_at=moment(window.resets_at),
            said_at=moment(said_at),
        )
        for window in windows
        if not window.is_over(now) and (left := window.left) is not None
    ]
