"""What is counted and up to where: a meter is one dimension of one limit, or one period of one budget. No Django."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import msgspec

SLOTS = 60
"""Parts of a window. What was used frees up by the slot: up to a 60th of its window late, and never early."""
UNITS_PER_USD = 10**10
"""Money is counted in whole units of 1e-10 USD, as costs are kept."""
LEASE_MS = 25_000
"""What a process holds frees up so long after it last said that it lives."""


class Dimension(StrEnum):
    REQUESTS = "requests"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    TOKENS = "tokens"
    """Input and output together."""
    CONCURRENT = "concurrent_requests"
    MONEY = "money"

    @property
    def words(self) -> str:
        return self.value.replace("_", " ")


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Whose money a meter counts, and in which period: what to ask the record for."""

    budget_id: UUID
    domain_id: UUID | None = None
    client_key_id: UUID | None = None
    user_id: str = ""
    session_id: str = ""
    starts_at: datetime
    ends_at: datetime | None
    """None: a budget in total has no end."""


class Meter(msgspec.Struct, frozen=True, kw_only=True):
    """`key` is the same for the same in every process."""

    key: str
    dimension: Dimension
    limit: int
    """Requests, tokens, or units of 1e-10 USD."""
    window_ms: int = 0
    """Of requests and tokens."""
    scope: str
    """`key`, `domain`, `credential`, `user`, `session` or `all`."""
    label: str
    """Whose it is, for people: `client key Ada's laptop`, or the name of a budget."""
    model_pattern: str = ""
    account: Account | None = None
    """Of money."""
    is_lazy: bool = False
    """One of very many, such as a session's: it counts from 0 at once, and the record is asked afterwards."""

    @property
    def slot_ms(self) -> int:
        return -(-self.window_ms // SLOTS)  # rounded up: sixty of them are no less than the window

    @property
    def is_window(self) -> bool:
        return self.window_ms > 0

    @property
    def name(self) -> str:
        """Of the limit: `key requests per minute`."""
        if self.dimension is Dimension.MONEY:
            return f"budget {self.label}"
        words = f"{self.scope} {self.dimension.words}"
        return f"{words} {self.per}" if self.is_window else words

    @property
    def per(self) -> str:
        return {60_000: "per minute", 3_600_000: "per hour"}.get(self.window_ms, f"in {self.window_ms / 1000:g} s")


def as_units(usd: Decimal) -> int:
    """Rounded up: money that may be spent is never counted as less than it is."""
    return int((usd * UNITS_PER_USD).to_integral_value(rounding="ROUND_CEILING"))


def as_usd(units: int) -> Decimal:
    return Decimal(units).scaleb(-10)
