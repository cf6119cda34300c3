"""One line of an overview: a limit or a budget, what says so, and how full it is."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.utils import timezone

from telemetry.limits.meters import Dimension, Meter, as_usd
from telemetry.limits.store import Use

DIMENSIONS = list(Dimension)
SCOPES = ("key", "domain", "credential", "user", "session", "all")


@dataclass(frozen=True, slots=True)
class Origin:
    """What says that there is this limit: a row of the admin, or a variable of the environment."""

    kind: str
    """`limit`, `budget` or `environment`."""
    id: UUID | None
    words: str

    @property
    def short(self) -> str:
        return "rate limit" if self.kind == "limit" else self.kind

    @property
    def url_name(self) -> str:
        """Of the row's page in the admin; empty: there is no row."""
        names = {"limit": "admin:accounts_ratelimit_change", "budget": "admin:accounts_budget_change"}
        return names.get(self.kind, "")


@dataclass(frozen=True, slots=True)
class Line:
    meter: Meter
    origin: Origin
    why_not: str = ""
    """Why it does not count, in words; empty: it does."""
    use: Use | None = None
    person: str = ""
    """Whose it is, of a budget of each user or session."""

    @property
    def is_known(self) -> bool:
        return self.use is not None and self.use.is_known

    @property
    def used(self) -> int:
        return self.use.used if self.use else 0

    @property
    def held(self) -> int:
        return self.use.held if self.use else 0

    @property
    def share(self) -> float:
        """1 is full; more than that is possible, since how large a request is, only its end tells."""
        return self.used / self.meter.limit

    @property
    def is_full(self) -> bool:
        return self.used >= self.meter.limit

    @property
    def frees_at(self) -> datetime | None:
        """When there is room again, where it is full; a budget, when its next period begins, full or not."""
        if self.meter.account is not None:
            return self.meter.account.ends_at
        if self.use is None or not self.use.frees_in_ms:
            return None
        return timezone.now() + timedelta(milliseconds=self.use.frees_in_ms)

    @property
    def percent(self) -> int | None:
        return round(100 * self.share) if self.is_known else None

    @property
    def used_text(self) -> str:
        return self.amount(self.used) if self.is_known else "not known"

    @property
    def limit_text(self) -> str:
        return self.amount(self.meter.limit)

    @property
    def held_text(self) -> str:
        """Of money, what running requests may still use."""
        return self.amount(self.held) if self.meter.account and self.held else ""

    @property
    def frees(self) -> str:
        """When there is room again, where it is full; of money, when it begins anew."""
        if self.meter.account is not None:
            ends_at = self.meter.account.ends_at
            return f"{ends_at:%Y-%m-%d %H:%M}" if ends_at else "never"
        if not self.is_full or self.use is None:
            return ""
        if self.meter.dimension is Dimension.CONCURRENT:
            return "when one ends"
        return f"in {span(self.use.frees_in_ms / 1000)}"

    @property
    def what(self) -> str:
        """`requests per minute`, or `money`."""
        words = self.meter.dimension.words
        return f"{words} {self.meter.per}" if self.meter.is_window else words

    @property
    def rank(self) -> tuple[int, ...]:
        """Who first, then what, then the shortest window."""
        meter = self.meter
        return SCOPES.index(meter.scope), DIMENSIONS.index(meter.dimension), meter.window_ms

    def as_dict(self) -> dict[str, Any]:
        """For programs. Money is in USD, as text."""
        meter, account = self.meter, self.meter.account
        amounts: dict[str, Any] = {"limit": meter.limit, "used": self.used, "held": self.held}
        if account is not None:
            amounts = {name: str(as_usd(amount)) for name, amount in amounts.items()}
        return {
            "name": meter.name,
            "scope": meter.scope,
            "of": meter.label,
            "person": self.person or None,
            "dimension": meter.dimension.value,
            "models": meter.model_pattern or None,
            "window_seconds": meter.window_ms / 1000 if meter.is_window else None,
            **amounts,
            "share": self.share if self.is_known else None,
            "is_known": self.is_known,
            "starts_at": account.starts_at if account else None,
            "frees_at": self.frees_at,
            "set_by": self.origin.words,
            "set_by_id": self.origin.id,
            "why_not": self.why_not or None,
        }

    def amount(self, number: int) -> str:
        """In the unit of its meter."""
        return dollars(as_usd(number)) if self.meter.dimension is Dimension.MONEY else f"{number:,}"


def dollars(usd: Decimal) -> str:
    """With more places where it is less than a dollar."""
    return f"${usd:,.4f}" if 0 < usd < 1 and usd != round(usd, 2) else f"${usd:,.2f}"


def span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def fullest(lines: "list[Line]") -> Line | None:
    counting = [line for line in lines if not line.why_not and line.is_known]
    return max(counting, key=lambda line: line.share, default=None)
