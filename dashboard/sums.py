"""What some hours come to, as it is shown."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Sum

from telemetry.models import Outcome
from telemetry.models.hours import FIRST_BYTE, LATENCY, STATUSES
from telemetry.money.histogram import percentile_ms
from telemetry.money.sums import COST_PLACES, SUMS, as_usd, cost_sum

Row = dict[str, Any]
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
TIMES = frozenset({*LATENCY, *FIRST_BYTE})
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


def total(rows: Any, *, times: bool = True) -> Row:
    """Of all these rows of hours, for `sums_of`."""
    found: Row = rows.order_by().aggregate(**_all(times=times))
    return found


def grouped(rows: Any, *order: str, times: bool = True) -> Any:
    """The same for each group of `values`. Without *times* two thirds of the columns are spared: latency and time to
    first byte are not known then."""
    return rows.annotate(**_all(times=times)).order_by(*order)


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
