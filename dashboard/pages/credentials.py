"""GET /dashboard/credentials: how each stands at the API, how much room it has, and who uses it."""

from typing import Any

from django.http import HttpRequest, HttpResponseBase

from accounts.access import Viewer
from dashboard import credentials
from dashboard.filters import OfCredential
from dashboard.pages.door import shared_page
from dashboard.pages.lens import lens_of
from dashboard.pages.sheet import sheet
from dashboard.pages.tables import Column, Link, State, Table

TONES = {"ok": "ok", "invalid": "bad", "open": "bad"}
COLUMNS = (
    Column("Credential", "link"),
    Column("Domain"),
    Column("Kind"),
    Column("Owner"),
    Column("Status", "state"),
    Column("Reason"),
    Column("Circuit"),
    Column("Last check", "ago"),
    Column("Check took", "ms"),
    Column("Requests in the last hour", "count"),
)


@shared_page
def view(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    lens = lens_of(request)
    found = credentials.credentials(viewer, OfCredential(domain=lens.asked.domain, credential=None))
    rows = [_row(each) for each in found["credentials"]]
    note = f"{found['left_out']} more: choose a domain." if found["left_out"] else ""
    table = Table("credentials", "All of them", COLUMNS, rows, "There is no credential yet.", note)
    shown = found["credentials"]
    return sheet(request, viewer, "credentials", lens, [], [table], template="credentials", credentials=shown)


def _row(each: dict[str, Any]) -> list[Any]:
    check, state = each["check"] or {}, each["status"] if each["is_active"] else "off"
    return [
        Link(each["name"], f"/admin/accounts/credential/{each['id']}/change/"),
        each["domain"] or "shared",
        each["kind"],
        each["owner"],
        State(state, TONES.get(state, "" if state == "off" else "warn")),
        each["reason"],
        each["circuit"],
        check.get("at"),
        check.get("latency_ms"),
        sum(use["requests"] for use in each["used_by"]),
    ]
