from telemetry.models.batches import BatchRow, BatchUsageRow
from telemetry.models.hours import HourMark
from telemetry.models.money import Adjustment, PriceRow, RepricingRow
from telemetry.models.record import (
    BodyRow,
    ExchangeRow,
    Kind,
    LedgerQuerySet,
    LedgerRow,
    Outcome,
    PieceRow,
    Pricing,
)

__all__ = [
    "Adjustment",
    "BatchRow",
    "BatchUsageRow",
    "BodyRow",
    "ExchangeRow",
    "HourMark",
    "Kind",
    "LedgerQuerySet",
    "LedgerRow",
    "Outcome",
    "PieceRow",
    "PriceRow",
    "Pricing",
    "RepricingRow",
]
