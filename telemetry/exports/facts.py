"""An exchange as the telemetry endpoint gets it: the original's names and types, and what it did not know."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from accounts.models import ClientKey, Domain
from telemetry.models import ExchangeRow

UNKNOWN = "unknown"
"""A domain or a key that is none of ours: what the original said too."""


class Fact(msgspec.Struct, frozen=True, rename="camel"):
    request_id: str
    timestamp: str
    """When it began: ISO 8601, UTC."""
    domain: str
    api_key: str
    """Masked: its last four characters."""
    model: str
    input_tokens: int
    output_tokens: int
    duration: int
    """Milliseconds."""
    status: int | None
    error: str | msgspec.UnsetType
    """The type of the error, where there was one."""
    tool_call_count: int
    request_type: str
    cache_read_tokens: int
    cache_write_tokens: int
    cost_usd: str | None
    """None: unpriced."""
    outcome: str


def facts_of(exchange_ids: Sequence[UUID]) -> list[Fact]:
    """Of those that are still on record, in the order in which they began."""
    rows = list(ExchangeRow.objects.filter(id__in=exchange_ids).order_by("id").defer("usage"))
    hosts = dict(Domain.objects.filter(id__in=_some(row.domain_id for row in rows)).values_list("id", "host"))
    keys = {key.id: key.masked for key in ClientKey.objects.filter(id__in=_some(row.client_key_id for row in rows))}
    return [_fact(row, hosts.get(row.domain_id, UNKNOWN), keys.get(row.client_key_id, UNKNOWN)) for row in rows]


def _fact(row: ExchangeRow, host: str, key: str) -> Fact:
    return Fact(
        request_id=str(row.id),
        timestamp=_iso(row.started_at),
        domain=host,
        api_key=key,
        model=row.answered_model or row.model,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        duration=row.duration_ms,
        status=row.status,
        error=row.error_type or msgspec.UNSET,
        tool_call_count=row.tool_calls,
        request_type=row.kind,
        cache_read_tokens=row.cache_read_tokens,
        cache_write_tokens=row.cache_write_5m_tokens + row.cache_write_1h_tokens,
        cost_usd=None if row.pricing == "unpriced" else str(row.cost or 0),
        outcome=row.outcome,
    )


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _some(ids: Iterable[Any]) -> set[UUID]:
    return {row_id for row_id in ids if row_id}
