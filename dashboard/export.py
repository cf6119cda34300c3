"""The record as a file: page after page of rows, made while the client takes them."""

import csv
import io
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from channels.db import database_sync_to_async
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone

from accounts.access import Viewer
from dashboard.filters import ExportFormat
from dashboard.queries import Row, columns_of_list, page
from telemetry.models import ExchangeRow

ROWS_AT_ONCE = 1000
CONTENT_TYPES = {ExportFormat.CSV: "text/csv; charset=utf-8", ExportFormat.JSONL: "application/x-ndjson"}
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula. Clients choose some of these texts: a cell must not be able to act."""


def export(rows: "QuerySet[ExchangeRow]", viewer: Viewer, file_format: ExportFormat) -> StreamingHttpResponse:
    response = StreamingHttpResponse(_file(rows, viewer, file_format), content_type=CONTENT_TYPES[file_format])
    name = f"nexus-requests-{timezone.now():%Y-%m-%d}.{file_format}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["X-Accel-Buffering"] = "no"
    return response


async def _file(rows: "QuerySet[ExchangeRow]", viewer: Viewer, file_format: ExportFormat) -> AsyncIterator[bytes]:
    columns = export_columns(viewer)
    written: Callable[[Sequence[Row], Sequence[str]], bytes] = _as_jsonl
    if file_format is ExportFormat.CSV:
        written = _as_csv
        yield ",".join(columns).encode() + b"\r\n"

    # In a thread, as CSV of a thousand rows takes milliseconds. Each page takes a connection and gives it back: a slow
    # client must not keep one from the recorder.
    @database_sync_to_async  # type: ignore[untyped-decorator] # channels has no types
    def next_page(before: UUID | None) -> tuple[bytes, UUID | None]:
        found, following = page(rows, viewer, ROWS_AT_ONCE, before)
        return (written(found, columns) if found else b""), following

    text, before = await next_page(None)
    yield text
    while before is not None:
        text, before = await next_page(before)
        if text:
            yield text


def export_columns(viewer: Viewer) -> tuple[str, ...]:
    """Names beside ids."""
    named = {"domain_id": "domain", "client_key_id": "client_key", "credential_id": "credential"}
    pairs = ((named[name], name) if name in named else (name,) for name in columns_of_list(viewer))
    return tuple(name for pair in pairs for name in pair)


def _as_jsonl(rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    return msgspec.json.Encoder().encode_lines([{name: row[name] for name in columns} for row in rows])


def _as_csv(rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([cell(row[name]) for name in columns] for row in rows)
    return text.getvalue().encode()


def cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value
