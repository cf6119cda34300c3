"""GET /dashboard/latency: how long it took, and what failed."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

from accounts.access import Viewer
from dashboard import figures, limits
from dashboard.filters import By, Refusals, Step
from dashboard.pages.charts import over_time
from dashboard.pages.door import shared_page
from dashboard.pages.lens import Lens, lens_of
from dashboard.pages.measures import Line, status_lines
from dashboard.pages.parts import Measures, tables_by
from dashboard.pages.sheet import sheet
from dashboard.pages.tables import Column, Link, Table
from dashboard.sums import WITHOUT_ERROR, Sums
from telemetry.models import Outcome

PERCENTILES = (("p50", "c3"), ("p95", "c4"), ("p99", "c5"))


def _percentile(which: str, name: str) -> Callable[[Sums], Any]:
    return lambda sums: getattr(getattr(sums, which), name)


MEASURES: Measures = (
    (Column("Requests", "count"), lambda sums: sums.requests),
    *((Column(f"Latency {name}", "ms"), _percentile("latency_ms", name)) for name, _ in PERCENTILES),
    *((Column(f"First byte {name}", "ms"), _percentile("first_byte_ms", name)) for name, _ in PERCENTILES),
    (Column("Errors", "count"), lambda sums: sums.errors),
    (Column("Success", "percent"), lambda sums: sums.success_share),
)


@shared_page
def view(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    lens = lens_of(request)
    _, points, totals = figures.series_and_totals(viewer, lens.asked, lens.hours)
    charts = [
        over_time("latency", "Latency", "lines", "ms", points, *_lines("latency_ms")),
        over_time("first-byte", "Time to first byte", "lines", "ms", points, *_lines("first_byte_ms")),
        over_time("errors", "Errors by how they ended", "bars", "count", points, *_error_lines()),
        over_time("status", "Requests by status", "bars", "count", points, *status_lines()),
    ]
    tables = [
        _outcomes(totals, lens),
        _statuses(totals, lens),
        _refusals(viewer, lens),
        *tables_by(viewer, lens, (By.MODEL, By.KEY, By.CREDENTIAL), MEASURES, times=True),
    ]
    return sheet(request, viewer, "latency", lens, charts, tables)


def _lines(which: str) -> list[Line]:
    return [(name, tone, _percentile(which, name)) for name, tone in PERCENTILES]


def _error_lines() -> list[Line]:
    def of(outcome: str) -> Callable[[Sums], int]:
        return lambda sums: sums.outcomes.get(outcome, 0)

    failed = [each for each in Outcome if each not in WITHOUT_ERROR]
    return [(str(each.label).lower(), f"c{place}", of(each.value)) for place, each in enumerate(failed, 1)]


def _outcomes(totals: Sums, lens: Lens) -> Table:
    rows = [
        [_to(str(Outcome(name).label), lens, outcome=name), count, count / totals.requests]
        for name, count in sorted(totals.outcomes.items(), key=lambda item: -item[1])
        if count
    ]
    columns = [Column("How it ended", "link"), Column("Requests", "count"), Column("Share", "percent")]
    return Table("outcomes", "How requests ended", columns, rows, "No requests in this span.")


def _statuses(totals: Sums, lens: Lens) -> Table:
    rows = [
        [_to(name, lens, status=name) if name != "none" else Link("no answer", ""), count, count / totals.requests]
        for name, count in totals.statuses.items()
        if count
    ]
    note = "429 counts in none of the others."
    columns = [Column("Status", "link"), Column("Requests", "count"), Column("Share", "percent")]
    return Table("statuses", "Statuses", columns, rows, "No requests in this span.", note)


def _refusals(viewer: Viewer, lens: Lens) -> Table:
    asked = Refusals(domain=lens.asked.domain, since=lens.hours.since, until=lens.hours.until, key=None, step=Step.HOUR)
    found = limits.refusals(viewer, asked)["refusals"]
    rows = [[_to(each["name"], lens, outcome="refused"), each["count"]] for each in found]
    columns = [Column("Limit, budget or rule", "link"), Column("Refused", "count")]
    return Table("refusals", "Refused by Nexus itself", columns, rows, "Nothing was refused in this span.")


def _to(text: str, lens: Lens, **filters: str) -> Link:
    return Link(text, reverse("dashboard:requests") + lens.requests(**filters))
