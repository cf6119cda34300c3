"""The proof that nothing is lost, as the processes of the cluster wrote it: for the dashboard and for metrics."""

from typing import Any

from telemetry.models import LedgerRow
from telemetry.record.ledger import COUNTS, Ledger


def proof() -> dict[str, Any]:
    """accepted = stored + in flight + spooled, for all and for each process that runs or has a gap."""
    processes = [process for row in LedgerRow.objects.order_by("-started_at") if (process := _process(row)) is not None]
    return {"cluster": _counts(LedgerRow.objects.totals()), "processes": processes}


def _process(row: LedgerRow) -> dict[str, Any] | None:
    counts = _counts(Ledger(**{name: getattr(row, name) for name in COUNTS}))
    if row.ended_at is not None and not counts["gap"]:
        return None
    times = {"started_at": row.started_at, "seen_at": row.seen_at, "ended_at": row.ended_at}
    return {"process": row.id, "node": row.node, **times, **counts}


def _counts(ledger: Ledger) -> dict[str, int]:
    return {name: getattr(ledger, name) for name in COUNTS} | {"gap": ledger.gap}
