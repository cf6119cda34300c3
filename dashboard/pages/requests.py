"""GET /dashboard/requests: the record, newest first, and what comes in while somebody watches."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from pydantic import ValidationError

from accounts.access import Viewer
from accounts.models import ClientKey, Credential
from dashboard import queries
from dashboard.api import NO_TEXT_SEARCH
from dashboard.filters import Page
from dashboard.pages.chips import NAMES, chips
from dashboard.pages.door import page, show
from dashboard.pages.lens import RANGES, WrongAddress, sentence_of
from dashboard.scope import name_of
from telemetry.lookup import as_uuid
from telemetry.models import Kind, Outcome

ROWS = 50
SPANS = {"15m": timedelta(minutes=15)} | RANGES
JUDGED = ("domain", "key", "credential", "model", "status", "outcome", "kind", "session")
"""Filters that tail.js can judge by a row of a tick; with others it only says that something has come."""
NUMBERS = frozenset({"in", "out", "cache", "cost", "first", "took", "attempts"})
COLUMNS = (
    ("at", "Time", True),
    ("status", "Status", True),
    ("domain", "Domain", False),
    ("key", "Key", True),
    ("credential", "Credential", False),
    ("model", "Model", True),
    ("in", "In", True),
    ("out", "Out", True),
    ("cache", "Cached", False),
    ("cost", "Cost", True),
    ("first", "First byte", True),
    ("took", "Took", True),
    ("end", "Ended", True),
    ("stop", "Stop reason", False),
    ("attempts", "Attempts", False),
    ("session", "Session", False),
    ("agent", "Client", False),
    ("upstream", "API's request id", False),
)
"""A short name, a heading, and whether it is shown before somebody chooses."""


@page
def view(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    if words := request.GET.get("q", "").strip():
        return _search(request, viewer, words)
    asked = _asked(request)
    if asked.text is not None and not viewer.may_see_bodies:
        raise WrongAddress(NO_TEXT_SEARCH)
    found, before = queries.page(queries.requests_for_list(viewer, asked), viewer, asked.limit, asked.position)
    kept = {name: request.GET[name] for name in NAMES if request.GET.get(name)}
    return show(
        request,
        viewer,
        "requests",
        rows=found,
        older="?" + urlencode(kept | {"cursor": str(before)}) if before else "",
        newest="?" + urlencode(kept) if asked.cursor else "",
        chips=chips(request.GET, _names(asked, viewer)),
        columns=COLUMNS,
        numbers=NUMBERS,
        asked=asked,
        kept=kept,
        spans=SPANS,
        outcomes=Outcome.choices,
        kinds=Kind.choices,
        tail={
            "filters": {name: kept[name] for name in JUDGED if name in kept},
            "isJudged": set(kept) <= {*JUDGED, "range", "since"},
            "isFirst": asked.cursor is None and "until" not in kept,
        },
    )


def _asked(request: HttpRequest) -> Page:
    """Raises WrongAddress."""
    values: dict[str, Any] = {name: request.GET.get(name, "") for name in (*NAMES, "cursor") if name != "range"}
    span = request.GET.get("range", "")
    if span:
        if span not in SPANS:
            raise WrongAddress(f"There is no range {span[:20]!r}: take one of {', '.join(SPANS)}.")
        seconds = SPANS[span]
        values["since"] = (timezone.now() - seconds).isoformat()
    try:
        return Page(**values, limit=ROWS)
    except ValidationError as error:
        raise WrongAddress(sentence_of(error)) from None


def _search(request: HttpRequest, viewer: Viewer, words: str) -> HttpResponse:
    """An id leads to its request; other words are looked for in what was said."""
    found = queries.request_for_view(viewer, words[:200])
    if found is not None:
        return redirect("dashboard:request", found.id)
    if as_uuid(words) or words.startswith("req_"):
        raise WrongAddress(f"There is no request {words[:100]!r}, or it is not yours to see.")
    kept = {name: request.GET[name] for name in NAMES if request.GET.get(name)}
    return redirect(f"{request.path}?{urlencode(kept | {'text': words[:300]})}")


def _names(asked: Page, viewer: Viewer) -> dict[str, str]:
    """Of what is named by its id."""
    found: dict[str, str] = {}
    for model, value in ((ClientKey, asked.key), (Credential, asked.credential)):
        if value and (row_id := as_uuid(value)) and (name := name_of(model, viewer, row_id)):
            found[value] = name
    return found
