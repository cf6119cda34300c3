"""GET /dashboard/usage: tokens and money, over time and by who and what."""

from django.http import HttpRequest, HttpResponseBase

from accounts.access import Viewer
from dashboard import figures
from dashboard.filters import By
from dashboard.pages.charts import over_time
from dashboard.pages.door import shared_page
from dashboard.pages.lens import lens_of
from dashboard.pages.measures import cache_writes, token_lines
from dashboard.pages.parts import Measures, tables_by
from dashboard.pages.sheet import sheet
from dashboard.pages.tables import Column

MEASURES: Measures = (
    (Column("Requests", "count"), lambda sums: sums.requests),
    (Column("Input", "compact"), lambda sums: sums.input_tokens),
    (Column("Cache read", "compact"), lambda sums: sums.cache_read_tokens),
    (Column("Cache write", "compact"), cache_writes),
    (Column("Output", "compact"), lambda sums: sums.output_tokens),
    (Column("Cache hits", "percent"), lambda sums: sums.cache_hit_share),
    (Column("Cost", "usd"), lambda sums: sums.cost),
    (Column("Unpriced", "count"), lambda sums: sums.unpriced),
)


@shared_page
def view(request: HttpRequest, viewer: Viewer) -> HttpResponseBase:
    lens = lens_of(request)
    _, points, totals = figures.series_and_totals(viewer, lens.asked, lens.hours, times=False)
    cost = ("cost", "c1", lambda sums: float(sums.cost))
    hits = ("cache hits", "c3", lambda sums: sums.cache_hit_share)
    charts = [
        over_time("cost", "Cost", "bars", "usd", points, cost),
        over_time("tokens", "Tokens by kind", "areas", "count", points, *token_lines()),
        over_time("cache", "Share of prompts read from the cache", "lines", "percent", points, hits),
    ]
    tables = tables_by(viewer, lens, list(By), MEASURES)
    note = f"{totals.unpriced:,} requests have no price: their cost is in no sum." if totals.unpriced else ""
    return sheet(request, viewer, "usage", lens, charts, tables, note=note)
