"""Curves as the page's script draws them (static/dashboard/charts.js) and as a table for who cannot see them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.figures import Part, Point
from dashboard.sums import Sums

Value = float | int | None


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    tone: str
    """The name of a colour of the style sheet, without the dashes: `ok`, `warn`, `bad`, `c1` to `c8`."""
    values: Sequence[Value]


@dataclass(frozen=True, slots=True)
class Chart:
    id: str
    title: str
    kind: str
    """`bars` (stacked), `areas` (stacked), `lines`, or `across`: bars that lie, one for each label."""
    unit: str
    """`count`, `usd`, `ms` or `percent`."""
    labels: Sequence[str]
    lines: Sequence[Line]

    @property
    def data_id(self) -> str:
        return f"{self.id}-data"

    @property
    def drawn(self) -> dict[str, Any]:
        """What the script gets."""
        lines = [{"name": line.name, "tone": line.tone, "values": list(line.values)} for line in self.lines]
        return {"kind": self.kind, "unit": self.unit, "labels": list(self.labels), "lines": lines}

    @property
    def rows(self) -> list[tuple[str, list[Value]]]:
        return [(label, [line.values[place] for line in self.lines]) for place, label in enumerate(self.labels)]

    @property
    def is_empty(self) -> bool:
        return not any(value for line in self.lines for value in line.values)


def over_time(
    id: str,
    title: str,
    kind: str,
    unit: str,
    points: Sequence[Point],
    *lines: tuple[str, str, Callable[[Sums], Value]],
) -> Chart:
    """*lines*: a name, a tone, and what is drawn of a point's sums."""
    labels = [f"{point.at:%b %d %H:%M}" for point in points]
    drawn = [Line(name, tone, [value(point.figures) for point in points]) for name, tone, value in lines]
    return Chart(id, title, kind, unit, labels, drawn)


def by_part(id: str, title: str, unit: str, parts: Sequence[Part], name: str, value: Callable[[Sums], Value]) -> Chart:
    labels = [part.name or "(none)" for part in parts]
    return Chart(id, title, "across", unit, labels, [Line(name, "c1", [value(part.figures) for part in parts])])
