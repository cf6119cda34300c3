"""Whether all processes count limits together now: for /health, pages and metrics. No Django."""

from collections.abc import Callable
from datetime import datetime

import msgspec


class Standing(msgspec.Struct, frozen=True):
    alone_since: datetime | None
    """None: Redis counts for all processes."""
    fallbacks: int
    """How often this process was left alone."""

    @property
    def words(self) -> str:
        return "shared" if self.alone_since is None else f"per process since {self.alone_since:%Y-%m-%dT%H:%M:%SZ}"


_ask: Callable[[], Standing] | None = None


def told_by(ask: Callable[[], Standing] | None) -> None:
    global _ask
    _ask = ask


def now() -> Standing | None:
    """None: this process does not count with others."""
    return _ask() if _ask is not None else None
