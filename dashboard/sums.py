"""What some hours come to, as it is shown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Any

from django.db.models import QuerySet, Sum

from telemetry.models import Outcome
from telemetry.models.hours import FIRST_BYTE, LATENCY, STATUSES
from telemetry.money.histogram import percentile_ms
from telemetry.money.sums import COST_PLACES, SUMS, as_usd, cost_sum

Row = dict[str, Any]
Sources = Sequence["QuerySet[Any]"]
"""Of hours and of days, which have the same columns; none of them is in two of these."""
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
TIMES = frozenset({*LATENCY, *FIRST_BYTE})
ADDED = frozenset({*(f"all_{name}" for name in SUMS), "all_cost"})
WITHOUT_ERROR = (Outcome.COMPLETED, Outcome.CANCELLED)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """In milliseconds, from the buckets of histograms; None where nothing was sent."""

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Sums:
    """What some hours come to."""

    requests: int
    streams: int
    errors: int
    """All outcomes but completed and cancelled."""
    success_share: float | None
    """Of the requests, those without an error."""
    outcomes: dict[str, int]
    statuses: dict[str, int]
    attempts: int
    tool_calls: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    cache_hit_share: float | None
    """Of the prompts' tokens, those read from the cache."""
    web_search_requests: int
    web_fetch_requests: int
    code_execution_requests: int
    cost: str
    """In USD, of what has a price."""
    unpriced: int
    """Requests without a price: their cost is not in it."""
    estimated: int
    """Requests whose usage was estimated."""
    request_bytes: int
    response_bytes: int
    overhead_us: float | None
    """Nexus's own time, on average."""
    latency_ms: Percentiles
    first_byte_ms: Percentiles


def total(sources: Sources, *, times: bool = True) -> Row:
    """Of all these rows of hours and days, for `sums_of`."""
    found: Row = {}
    for rows in sources:
        add(found, rows.order_by().aggregate(**_all(times=times)))
    return found


def grouped(sources: Sources, *columns: str, times: bool = True, limit: int | None = None) -> list[Row]:
    """The same for each group of what is alike in *columns*, those with the most requests first. Without *times* two
    thirds of the columns are spared: latency and time to first byte are not known then."""
    order = ("-all_requests", "-all_cost", *columns)
    by_source = [rows.values(*columns).annotate(**_all(times=times)).order_by(*order) for rows in sources]
    if len(by_source) == 1:
        return list(by_source[0][:limit])
    groups: dict[Any, Row] = {}
    for row in chain.from_iterable(by_source):
        add(groups.setdefault(tuple(row[name] for name in columns), {name: row[name] for name in columns}), row)
    found = sorted(groups.values(), key=lambda row: (-row["all_requests"], -row["all_cost"], *_order(row, columns)))
    return found[:limit]


def add(to: Row, more: Row) -> None:
    """Sums to sums."""
    for name, value in more.items():
        if name in ADDED:
            to[name] = to.get(name, 0) + value


def _order(row: Row, columns: Iterable[str]) -> list[str]:
    return [str(row[name] or "") for name in columns]


def sums_of(row: Row) -> Sums:
    def of(name: str) -> int:
        return int(row.get(f"all_{name}", 0))

    errors = of("requests") - sum(of(outcome) for outcome in WITHOUT_ERROR)
    prompt = sum(of(name) for name in TOKENS) - of("output_tokens")
    return Sums(
        requests=of("requests"),
        streams=of("streams"),
        errors=errors,
        success_share=_share(of("requests") - errors, of("requests")),
        outcomes={outcome: of(outcome) for outcome in Outcome.values},
        statuses={name.removeprefix("status_"): of(name) for name in STATUSES},
        attempts=of("attempts"),
        tool_calls=of("tool_calls"),
        **{name: of(name) for name in TOKENS},
        cache_hit_share=_share(of("cache_read_tokens"), prompt),
        web_search_requests=of("web_search_requests"),
        web_fetch_requests=of("web_fetch_requests"),
        code_execution_requests=of("code_execution_requests"),
        cost=in_usd(as_usd(of("cost"))),
        unpriced=of("unpriced"),
        estimated=of("estimated"),
        request_bytes=of("request_bytes"),
        response_bytes=of("response_bytes"),
        overhead_us=_share(of("overhead_us"), of("requests")),
        latency_ms=_percentiles([of(name) for name in LATENCY]),
        first_byte_ms=_percentiles([of(name) for name in FIRST_BYTE]),
    )


def in_usd(cost: Decimal) -> str:
    """With all its places: how many of them matter is for whoever shows it."""
    return f"{cost:.{COST_PLACES}f}"


def _all(*, times: bool = True) -> dict[str, Sum]:
    wanted = SUMS if times else [name for name in SUMS if name not in TIMES]
    return {f"all_{name}": Sum(name, default=0) for name in wanted} | {"all_cost": cost_sum()}


def _percentiles(counts: list[int]) -> Percentiles:
    return Percentiles(*(percentile_ms(counts, share) for share in (0.5, 0.95, 0.99)))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
