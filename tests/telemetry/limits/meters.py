"""Meters and wants, with plausible values where a test does not care."""

from datetime import UTC, datetime

from accounts.ids import new_id
from telemetry.limits.meters import Account, Dimension, Meter
from telemetry.limits.store import Want


def window(limit: int = 10, key: str = "requests", window_ms: int = 60_000) -> Meter:
    return Meter(
        key=key, dimension=Dimension.REQUESTS, limit=limit, window_ms=window_ms, scope="key", label="client key Ada"
    )


def places(limit: int = 10, key: str = "places") -> Meter:
    return Meter(key=key, dimension=Dimension.CONCURRENT, limit=limit, scope="key", label="client key Ada")


def money(limit: int = 10, key: str = "money") -> Meter:
    account = Account(budget_id=new_id(), starts_at=datetime.now(UTC), ends_at=None)
    return Meter(key=key, dimension=Dimension.MONEY, limit=limit, scope="key", label="Monthly", account=account)


def want(*meters: Meter, amount: int = 1) -> Want:
    return Want(new_id(), meters, (amount,) * len(meters))
