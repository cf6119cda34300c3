from telemetry.models.batches import BatchRow, BatchUsageRow
from telemetry.models.belongings import Belonging
from telemetry.models.exports import ExportRow
from telemetry.models.hours import DayRow, HourKind, HourMark, HourRow, HourState
from telemetry.models.incidents import (
    DigestSent,
    Incident,
    IncidentStep,
    Limits,
    RuleSettings,
    Severity,
    Suspicion,
)
from telemetry.models.money import Adjustment, PriceRow, RepricingRow
from telemetry.models.notices import Candidate, Delivery, ErrorStreak, LastSaid, SlackSettings, Target, Webhook
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
    "Belonging",
    "BodyRow",
    "Candidate",
    "DayRow",
    "Delivery",
    "DigestSent",
    "ErrorStreak",
    "ExchangeRow",
    "ExportRow",
    "HourKind",
    "HourMark",
    "HourRow",
    "HourState",
    "Incident",
    "IncidentStep",
    "Kind",
    "LastSaid",
    "LedgerQuerySet",
    "LedgerRow",
    "Limits",
    "Outcome",
    "PieceRow",
    "PriceRow",
    "Pricing",
    "RepricingRow",
    "RuleSettings",
    "Severity",
    "SlackSettings",
    "Suspicion",
    "Target",
    "Webhook",
]
