"""Tables of a page, and each of them as CSV: what is shown and what is taken along are the same rows."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from dashboard.export import cell
from dashboard.pages.lens import WrongAddress

ROWS_MAX = 500


@dataclass(frozen=True, slots=True)
class Link:
    text: str
    href: str


@dataclass(frozen=True, slots=True)
class State:
    """A word with a tone: `ok`, `warn`, `bad`, or none."""

    text: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """Of what is full at 1."""

    value: float | None

    @property
    def percent(self) -> float:
        return min((self.value or 0) * 100, 100)


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    kind: str = "text"
    """`text`, `count`, `compact`, `usd`, `ms`, `size`, `percent`, `ago`, `link`, `state` or `share`."""

    @property
    def is_number(self) -> bool:
        return self.kind in ("count", "compact", "usd", "ms", "size", "percent", "share")


@dataclass(frozen=True, slots=True)
class Table:
    id: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    empty: str
    """What is said where there are no rows."""
    note: str = ""

    @property
    def lines(self) -> list[list[tuple[Column, Any]]]:
        return [list(zip(self.columns, row, strict=True)) for row in self.rows[:ROWS_MAX]]

    @property
    def left_out(self) -> int:
        return max(0, len(self.rows) - ROWS_MAX)


def as_csv(request: HttpRequest, tables: Sequence[Table]) -> HttpResponse | None:
    """The table that `?csv=ID` names. Raises WrongAddress."""
    wanted = request.GET.get("csv")
    if wanted is None:
        return None
    table = next((table for table in tables if table.id == wanted), None)
    if table is None:
        raise WrongAddress(
            f"There is no table {wanted[:50]!r} here: take one of {', '.join(each.id for each in tables)}."
        )
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([column.name for column in table.columns])
    writer.writerows([cell(_plain(value)) for value in row] for row in table.rows)
    response = HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")
    name = f"nexus-{table.id}-{timezone.now():%Y-%m-%d}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _plain(value: Any) -> Any:
    if isinstance(value, Link | State):
        return value.text
    if isinstance(value, Share):
        return value.value
    return value
