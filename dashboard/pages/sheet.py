"""A page of curves and tables."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponseBase

from accounts.access import Viewer
from dashboard.pages.charts import Chart
from dashboard.pages.door import PAGES, show
from dashboard.pages.lens import Lens
from dashboard.pages.tables import Table, as_csv


def sheet(
    request: HttpRequest,
    viewer: Viewer,
    name: str,
    lens: Lens | None,
    charts: Sequence[Chart],
    tables: Sequence[Table],
    *,
    template: str = "sheet",
    **context: Any,
) -> HttpResponseBase:
    """Or one of its tables as CSV. Raises WrongAddress."""
    given = {name: value for name, value in request.GET.items() if name != "csv"}
    context |= {"title": dict(PAGES)[name], "charts": charts, "tables": tables, "given": given}
    return as_csv(request, tables) or show(
        request, viewer, name, lens, template=template, part=f"_{template}", **context
    )
