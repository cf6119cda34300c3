"""Enters what the telemetry endpoint is to hear, with the transaction that stores it."""

from collections.abc import Iterable

from django.conf import settings
from django.utils import timezone

from telemetry.exports.conf import ExportConf
from telemetry.models import ExportRow
from telemetry.record.exchange import Exchange
from telemetry.record.insert import insert

_COLUMNS = ("exchange_id", "due_at", "attempts")


def enter(exchanges: Iterable[Exchange]) -> None:
    """Costs nothing where there is no endpoint."""
    conf: ExportConf = settings.EXPORT
    if conf.endpoint:
        now = timezone.now()
        insert(ExportRow, _COLUMNS, [(exchange.id, now, 0) for exchange in exchanges])
