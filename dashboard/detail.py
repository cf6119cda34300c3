"""One request as the API shows it: its columns, and what was said as far as the viewer may see that."""

import base64
from collections.abc import Callable
from typing import Any

import msgspec
from zstandard import ZstdError

from accounts.access import VIEW_BODIES, Viewer
from dashboard.queries import COLUMNS, PREVIEWS, Row, name_references
from telemetry.models import BodyRow, ExchangeRow
from telemetry.record.message import message_from_stream
from telemetry.record.pieces import MissingPiece

NOT_ALLOWED = f"Bodies, headers and previews are not shown: that takes the permission {VIEW_BODIES}."
NOT_KEPT = "The bodies of this request are not in the record: they were not kept, or have been deleted since."
_headers = msgspec.json.Decoder(list[tuple[str, str]])


def whole(row: ExchangeRow, viewer: Viewer) -> Row:
    shown = {name: getattr(row, name) for name in COLUMNS if viewer.may_see_bodies or name not in PREVIEWS}
    shown["usage"] = _parsed(row.usage)
    name_references([shown])
    return shown | (_said(row) if viewer.may_see_bodies else {"bodies_note": NOT_ALLOWED})


def _said(row: ExchangeRow) -> Row:
    body: BodyRow | None = getattr(row, "body", None)
    if body is None:
        return {"bodies_note": NOT_KEPT}
    response, response_fields = _read(row.response_body, "response_body")
    _, request_fields = _read(row.request_body, "request_body")
    return {
        "bodies_note": "Parts of the stored copy were replaced: this domain is redacted." if body.is_redacted else None,
        "request_headers": _headers.decode(body.request_headers),
        "response_headers": _headers.decode(body.response_headers),
        "request_is_whole": body.request_is_whole,
        "response_is_whole": body.response_is_whole,
        **request_fields,
        **response_fields,
        "response_message": _message(response) if row.is_stream and response else None,
    }


def _read(read: Callable[[], bytes | None], name: str) -> tuple[bytes | None, Row]:
    """The body, and the fields that tell it: its text, or base64 where it is no text; or why there is none."""
    text, encoding, note = None, None, None
    try:
        body = read()
    except (MissingPiece, ValueError, ZstdError) as error:
        body, note = None, f"This body cannot be read any more: {error}"
    if body is not None:
        try:
            text, encoding = body.decode(), "utf-8"
        except UnicodeDecodeError:
            text, encoding = base64.b64encode(body).decode(), "base64"
    return body, {name: text, f"{name}_encoding": encoding, f"{name}_note": note}


def _message(stream: bytes) -> Any:
    """As JSON already: a tree deep enough to be read need not be shallow enough to be written."""
    message = message_from_stream(stream)
    try:
        return None if message is None else msgspec.Raw(msgspec.json.encode(message))
    except (RecursionError, ValueError):
        return None


def _parsed(usage: str) -> Any:
    """Raw JSON as the upstream sent it; the text itself where it was cut."""
    try:
        msgspec.json.decode(usage)
    except (ValueError, RecursionError):
        return usage
    return msgspec.Raw(usage.encode())
