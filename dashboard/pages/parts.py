"""Tables of what models, keys, domains, credentials and kinds came to, for several pages."""

from collections.abc import Callable, Sequence
from typing import Any

from django.urls import reverse

from accounts.access import Viewer
from dashboard import figures
from dashboard.figures import Part
from dashboard.filters import By
from dashboard.pages.lens import Lens
from dashboard.pages.tables import Column, Link, Table
from dashboard.sums import Sums

PARTS_MAX = 100
NONE = "(none)"
Measures = Sequence[tuple[Column, Callable[[Sums], Any]]]


def tables_by(viewer: Viewer, lens: Lens, bys: Sequence[By], measures: Measures, *, times: bool = False) -> list[Table]:
    found = figures.breakdowns(viewer, lens.asked, lens.hours, bys, PARTS_MAX, times=times)
    return [_table(lens, by, measures, *found[by]) for by in bys]


def _table(lens: Lens, by: By, measures: Measures, parts: list[Part], others: Sums | None) -> Table:
    rows = [[_name(part, by, lens), *(value(part.figures) for _, value in measures)] for part in parts]
    if others is not None:
        rows.append([Link("all others", ""), *(value(others) for _, value in measures)])
    columns = [Column(by.value.capitalize(), "link"), *(column for column, _ in measures)]
    return Table(f"by-{by.value}", f"By {by.value}", columns, rows, "No requests in this span.")


def _name(part: Part, by: By, lens: Lens) -> Link:
    """With the way to its requests."""
    shown = part.name or (str(part.id) if part.id else NONE)
    if not part.id:
        return Link(shown, "")
    value = part.name if by in (By.DOMAIN, By.MODEL, By.KIND) else str(part.id)
    return Link(shown, reverse("dashboard:requests") + lens.requests(**{by.value: value}))
