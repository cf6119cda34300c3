"""GET /dashboard/requests/NAME: one request, by its id or the API's request id."""

from dataclasses import dataclass
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse

from accounts.access import Viewer
from dashboard import detail, queries
from dashboard.conversation import conversation
from dashboard.pages.curl import curl
from dashboard.pages.door import not_found, page, show
from dashboard.pages.tree import tree

RAW_MAX_CHARACTERS = 200_000
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Raw:
    """A body as it went over the wire."""

    title: str
    text: str
    left_out: int
    note: str | None
    tree: Any


@page
def view(request: HttpRequest, viewer: Viewer, name: str) -> HttpResponse:
    found = queries.request_for_view(viewer, name)
    if found is None:
        return not_found(request, "There is no such request, or it is not yours to see.")
    row = detail.whole(found, viewer)
    asked = _parsed(row.get("request_body"), row.get("request_body_encoding"))
    answer = _answer(row)
    return show(
        request,
        viewer,
        "request",
        row=row,
        tokens=_tokens(row),
        spans=_spans(row),
        prices=queries.prices_of(found),
        said=conversation(asked, answer),
        raws=[_raw(row, "request_body", "Request", asked), _raw(row, "response_body", "Answer", answer)],
        curl=_curl(request, row),
        neighbours=queries.neighbours_of(found, viewer),
    )


def _answer(row: Row) -> Any:
    if row.get("response_message") is not None:
        return msgspec.json.decode(bytes(row["response_message"]))
    return _parsed(row.get("response_body"), row.get("response_body_encoding"))


def _parsed(text: str | None, encoding: str | None) -> Any:
    if not text or encoding != "utf-8":
        return None
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None


def _raw(row: Row, name: str, title: str, parsed: Any) -> Raw:
    text = row.get(name) or ""
    shown = text[:RAW_MAX_CHARACTERS]
    drawn = tree(parsed) if isinstance(parsed, dict | list) else None
    return Raw(title, shown, len(text) - len(shown), row.get(f"{name}_note"), drawn)


def _tokens(row: Row) -> list[tuple[str, int]]:
    return [
        ("input", row["input_tokens"]),
        ("output", row["output_tokens"]),
        ("read from the cache", row["cache_read_tokens"]),
        ("written to the cache, 5 minutes", row["cache_write_5m_tokens"]),
        ("written to the cache, 1 hour", row["cache_write_1h_tokens"]),
    ]


def _spans(row: Row) -> list[tuple[str, float, float, float]]:
    """Where the time went: a name, milliseconds, and in percent of the whole where it begins and how long it is."""
    whole = max(row["duration_ms"], 1)
    own = row["overhead_us"] / 1000
    waited, first = row["waited_ms"], row["first_byte_ms"]
    parts = [("Nexus itself", own)]
    if waited:
        parts.append(("waiting for room in a limit", waited))
    if first is not None:
        parts.append(("until the first byte", max(first - waited - own, 0)))
        parts.append(("the rest of the answer", max(whole - first, 0)))
    else:
        parts.append(("without a first byte", max(whole - waited - own, 0)))
    found, begin = [], 0.0
    for name, milliseconds in parts:
        width = min(milliseconds / whole * 100, 100 - begin)
        found.append((name, milliseconds, begin, max(width, 0.4)))
        begin = min(begin + width, 100)
    return found


def _curl(request: HttpRequest, row: Row) -> str:
    if "request_body" not in row or row.get("request_body_encoding") == "base64" or not row.get("request_is_whole"):
        return ""
    base_url = request.build_absolute_uri("/").rstrip("/")
    return curl(base_url, row["method"], row["path"], row["query"], row["request_headers"], row["request_body"])
