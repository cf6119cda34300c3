"""Amounts for people to read."""

from decimal import Decimal

from telemetry.record.exchange import Pricing

CENT = Decimal("0.01")


def dollars(amount: Decimal) -> str:
    """To a hundredth of a cent; less than a cent to all its places."""
    if amount == 0:
        return "$0"
    sign, size = ("-" if amount < 0 else ""), abs(amount)
    return f"{sign}${size:,.4f}" if size >= CENT else f"{sign}${size:.10f}".rstrip("0")


def cost(pricing: str, amount: Decimal | None) -> str:
    """Of a row."""
    if pricing == Pricing.FREE:
        return "free"
    return "unpriced" if amount is None else dollars(amount)
