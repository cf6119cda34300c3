"""Counts exchanges that have ended. A sink: it runs in the sinks' thread, and no request waits for it."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram

from accounts.facts import Snapshot
from telemetry.metrics.labels import Domains, Models, refused_by, status_class
from telemetry.money.pricing import PriceList
from telemetry.record.exchange import Exchange, Pricing

TOKENS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_tokens": "cache_read",
    "cache_write_5m_tokens": "cache_write_5m",
    "cache_write_1h_tokens": "cache_write_1h",
}
TOOLS = {
    "web_search_requests": "web_search",
    "web_fetch_requests": "web_fetch",
    "code_execution_requests": "code_execution",
}
DURATION = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
FIRST_BYTE = (0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60, 120)
OVERHEAD = (50e-6, 100e-6, 200e-6, 350e-6, 500e-6, 750e-6, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5)


Sums = defaultdict[Counter, float]
"""Of one batch: to add up here costs less than to add to what processes share, several times."""


class Of(NamedTuple):
    """Series of one domain and model; finding them by their labels costs more than counting."""

    tokens: tuple[tuple[str, Counter], ...]
    cost: Counter
    attempts: Counter
    retries: Counter
    unpriced: Counter


class ExchangeMetrics:
    def __init__(
        self, registry: CollectorRegistry, snapshot: Callable[[], Snapshot], prices: Callable[[], PriceList]
    ) -> None:
        self._domains, self._models = Domains(snapshot), Models(prices)
        self._found: dict[tuple[object, ...], Counter] = {}
        self._series: dict[tuple[str, str], Of] = {}
        of_model = ("domain", "model")
        self._requests = Counter(
            "nexus_requests",
            "Requests that have ended, by how they ended and by the status that the client saw (429 is a class of its "
            "own)",
            (*of_model, "kind", "outcome", "status_class"),
            registry=registry,
        )
        self._tokens = Counter("nexus_tokens", "Tokens that the API reported", (*of_model, "type"), registry=registry)
        self._cost = Counter("nexus_cost_usd", "Cost in USD of what has a price", of_model, registry=registry)
        self._unpriced = Counter(
            "nexus_unpriced_requests",
            "Requests of which something has no price: their cost is unknown",
            ("model",),
            registry=registry,
        )
        self._attempts = Counter(
            "nexus_upstream_attempts", "Calls of the Claude API, retries included", ("model",), registry=registry
        )
        self._retries = Counter(
            "nexus_upstream_retries", "Calls of the Claude API after the first one", ("model",), registry=registry
        )
        self._tools = Counter(
            "nexus_server_tool_uses", "Uses of the API's own tools", ("domain", "tool"), registry=registry
        )
        self._refusals = Counter(
            "nexus_limit_refusals",
            "Requests that a limit, a budget or a rule about models refused",
            ("scope", "limit"),
            registry=registry,
        )
        self._received = Counter(
            "nexus_request_bytes", "Bytes of bodies received from clients", ("domain",), registry=registry
        )
        self._sent = Counter(
            "nexus_response_bytes", "Bytes of bodies received from the Claude API", ("domain",), registry=registry
        )
        self._duration = Histogram(
            "nexus_request_duration_seconds",
            "From a request's first byte in to its last byte out, of those that were sent to the Claude API",
            ("kind", "stream"),
            buckets=DURATION,
            registry=registry,
        )
        self._first_byte = Histogram(
            "nexus_time_to_first_byte_seconds",
            "From a request's first byte in to the first byte of its answer out",
            ("kind", "stream"),
            buckets=FIRST_BYTE,
            registry=registry,
        )
        self._overhead = Histogram(
            "nexus_overhead_seconds",
            "Nexus's own time between the whole request and the call of the Claude API",
            buckets=OVERHEAD,
            registry=registry,
        )

    def __call__(self, exchanges: Sequence[Exchange]) -> None:
        self._domains.refresh()
        sums: Sums = defaultdict(float)
        for exchange in exchanges:
            self._count(exchange, sums)
        for counter, amount in sums.items():
            counter.inc(amount)

    def _count(self, exchange: Exchange, sums: Sums) -> None:
        domain, model = self._domains.label(exchange.domain_id), self._models.label(exchange)
        ending = (exchange.kind.value, exchange.outcome.value, status_class(exchange.status))
        sums[self._child(self._requests, domain, model, *ending)] += 1
        sums[self._child(self._received, domain)] += exchange.request_bytes
        sums[self._child(self._sent, domain)] += exchange.response_bytes
        if exchange.refused_by:
            sums[self._child(self._refusals, *refused_by(exchange.refused_by))] += 1
        if exchange.attempts:
            self._count_sent(exchange, self._of(domain, model), sums)
            self._measure(exchange)
        for name, tool in TOOLS.items():
            if uses := getattr(exchange, name):
                sums[self._child(self._tools, domain, tool)] += uses

    def _count_sent(self, exchange: Exchange, of: Of, sums: Sums) -> None:
        sums[of.attempts] += exchange.attempts
        sums[of.retries] += exchange.attempts - 1
        sums[of.unpriced] += exchange.pricing is Pricing.UNPRICED
        for name, counter in of.tokens:
            sums[counter] += getattr(exchange, name)
        if exchange.cost:
            sums[of.cost] += float(exchange.cost)

    def _measure(self, exchange: Exchange) -> None:
        of = (exchange.kind.value, "true" if exchange.is_stream else "false")
        self._duration.labels(*of).observe(exchange.duration_ms / 1000)
        if exchange.first_byte_ms is not None:
            self._first_byte.labels(*of).observe(exchange.first_byte_ms / 1000)
        self._overhead.observe(exchange.overhead_us / 1_000_000)

    def _child(self, counter: Counter, *labels: str) -> Counter:
        """Remembered: Prometheus's own way to it takes a lock and checks each label."""
        key = (counter, *labels)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = counter.labels(*labels)
        return found

    def _of(self, domain: str, model: str) -> Of:
        found = self._series.get((domain, model))
        if found is None:
            found = self._series[domain, model] = Of(
                tokens=tuple((name, self._tokens.labels(domain, model, kind)) for name, kind in TOKENS.items()),
                cost=self._cost.labels(domain, model),
                attempts=self._attempts.labels(model),
                retries=self._retries.labels(model),
                unpriced=self._unpriced.labels(model),
            )
        return found
