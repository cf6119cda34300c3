"""Answers as facts, from the usage object that the API reported: read as the meter reads it."""

import json
from typing import Any

import msgspec

from telemetry.record.exchange import Exchange
from telemetry.record.usage import UsageReports
from tests.telemetry.facts import exchange


def answered(usage: dict[str, Any] | str, by: str, **changes: Any) -> Exchange:
    reports = UsageReports()
    reports.update(msgspec.Raw((usage if isinstance(usage, str) else json.dumps(usage)).encode()))
    total = reports.total()
    values: dict[str, Any] = {
        name: getattr(total, name) for name in total.__struct_fields__ if name not in ("raw", "source")
    }
    values |= {"usage": total.raw.decode(), "usage_source": total.source.value}
    return exchange(**values | {"model": by, "answered_model": by} | changes)
