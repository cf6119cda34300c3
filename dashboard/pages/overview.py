"""GET /dashboard/: what happens, in figures that each lead to the requests behind them."""

from collections.abc import Callable
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse

from accounts.access import Viewer
from accounts.models import Credential
from dashboard import credentials, overview
from dashboard.filters import OfCredential
from dashboard.overview import Overview
from dashboard.pages.charts import by_part, over_time
from dashboard.pages.door import shared_page, show
from dashboard.pages.lens import Lens, lens_of
from dashboard.pages.measures import Value, prompt_tokens, status_lines, token_lines
from dashboard.sums import Sums


@dataclass(frozen=True, slots=True)
class Tile:
    name: str
    filter: str
    """The template's filter that writes the value."""
    value: Value
    before: Value
    curve: list[Value]
    href: str
    live: str = ""
    """What of a tick is added to it (static/dashboard/live.js)."""
    is_good_when_low: bool = False

    @property
    def change(self) -> float | None:
        """Against as many hours before; a share changes in points."""
        if self.value is None or self.before is None:
            return None
        if self.filter == "percent":
            return (self.value - self.before) * 100
        return (self.value - self.before) / self.before * 100 if self.before else None

    @property
    def is_better(self) -> bool | None:
        change = self.change
        return None if not change else (change < 0) == self.is_good_when_low


@shared_page
def view(request: HttpRequest, viewer: Viewer) -> HttpResponse:
    lens = lens_of(request)
    found, ledger = overview.overview(viewer, lens.asked, lens.hours), overview.ledger_for_overview(viewer)
    asked = OfCredential(domain=lens.asked.domain, credential=None)
    return show(
        request,
        viewer,
        "overview",
        lens,
        part="_overview",
        found=found,
        tiles=_tiles(found, lens, ledger["in_flight"] if ledger else None),
        charts=_charts(found),
        credentials=credentials.credentials(viewer, asked),
        errors=overview.errors_for_overview(viewer, lens.asked.domain, lens.hours.since),
        conversations=overview.conversations_for_overview(viewer, lens.asked.domain),
        ledger=ledger,
        has_credentials=Credential.objects.exists(),
    )


def _tiles(found: Overview, lens: Lens, in_flight: int | None) -> list[Tile]:
    def tile(
        name: str, shown: str, value: Callable[[Sums], Value], live: str = "", *, low: bool = False, **more: str
    ) -> Tile:
        curve = [value(point.figures) if point.figures.requests else None for point in found.points]
        return Tile(name, shown, value(found.totals), value(found.before), curve, lens.requests(**more), live, low)

    return [
        tile("Requests", "compact", lambda sums: sums.requests, "requests"),
        tile("Success", "percent", lambda sums: sums.success_share, status="2xx"),
        tile("Latency p95", "ms", lambda sums: sums.latency_ms.p95, low=True),
        tile("First byte p95", "ms", lambda sums: sums.first_byte_ms.p95, low=True),
        Tile("In flight", "compact", in_flight, None, [], lens.query()),
        tile("Tokens", "compact", lambda sums: prompt_tokens(sums) + sums.output_tokens, "tokens"),
        tile("Cost", "usd", lambda sums: float(sums.cost), "cost", low=True),
        tile("Cache hits", "percent", lambda sums: sums.cache_hit_share),
    ]


def _charts(found: Overview) -> list[object]:
    return [
        over_time("by-status", "Requests by status", "bars", "count", found.points, *status_lines()),
        by_part("by-model", "Cost by model", "usd", found.models, "cost", lambda sums: float(sums.cost)),
        over_time("tokens", "Tokens by kind", "areas", "count", found.points, *token_lines()),
    ]
