"""What one exchange counts for."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from accounts.facts import DomainFacts, Snapshot
from accounts.ids import new_id
from accounts.privacy import Storage
from telemetry.metrics.exchanges import ExchangeMetrics
from telemetry.metrics.labels import ASKED_MAX, MODELS_MAX, OTHER, Models, refused_by, status_class
from telemetry.money.pricing import Price, PriceList, Rates
from telemetry.record.exchange import Kind, Outcome, Pricing
from tests.telemetry.facts import exchange

DOMAIN = DomainFacts(new_id(), "claude.example.com", True, False, Storage.FULL)
SNAPSHOT = Snapshot(1, "pepper", domains={DOMAIN.host: DOMAIN})
ONE = Decimal(1)
PRICES = PriceList(
    [
        Price(
            id=new_id(),
            pattern="claude-priced-*",
            valid_from=datetime(2020, 1, 1, tzinfo=UTC),
            rates=Rates(ONE, ONE, ONE, ONE, ONE),
        )
    ]
)


class Counted:
    """What a sink of its own has counted."""

    def __init__(self, *exchanges: Any) -> None:
        self.registry = CollectorRegistry()
        self.sink = ExchangeMetrics(self.registry, lambda: SNAPSHOT, lambda: PRICES)
        self.sink(exchanges)

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


def test_a_request_is_counted_with_its_tokens_and_cost() -> None:
    model = {"domain": DOMAIN.host, "model": "claude-haiku-4-5-20251001"}
    one = exchange(domain_id=DOMAIN.id, pricing=Pricing.PRICED, cost=Decimal("0.25"))
    counted = Counted(one, one)
    ending = {"kind": "inference", "outcome": "completed", "status_class": "2xx"}
    assert counted("nexus_requests_total", **model, **ending) == 2
    tokens = {kind: counted("nexus_tokens_total", **model, type=kind) for kind in ("input", "output", "cache_read")}
    assert tokens == {"input": 20, "output": 40, "cache_read": 60}
    assert counted("nexus_tokens_total", **model, type="cache_write_5m") == 80
    assert counted("nexus_tokens_total", **model, type="cache_write_1h") == 100
    assert counted("nexus_cost_usd_total", **model) == 0.5
    assert counted("nexus_unpriced_requests_total", model=model["model"]) == 0
    assert counted("nexus_request_bytes_total", domain=DOMAIN.host) == 200
    assert counted("nexus_response_bytes_total", domain=DOMAIN.host) == 400
    tools = {tool: counted("nexus_server_tool_uses_total", domain=DOMAIN.host, tool=tool) for tool in TOOLS}
    assert tools == TOOLS


TOOLS = {"web_search": 2.0, "web_fetch": 4.0, "code_execution": 6.0}


def test_times_are_in_seconds() -> None:
    counted = Counted(exchange(duration_ms=1500, first_byte_ms=250, overhead_us=88, is_stream=False))
    of = {"kind": "inference", "stream": "false"}
    assert counted("nexus_request_duration_seconds_sum", **of) == 1.5
    assert counted("nexus_time_to_first_byte_seconds_bucket", **of, le="0.25") == 1
    assert counted("nexus_time_to_first_byte_seconds_bucket", **of, le="0.1") == 0
    assert counted("nexus_overhead_seconds_sum") == pytest.approx(88e-6)
    assert counted("nexus_overhead_seconds_bucket", le="0.0001") == 1
    assert counted("nexus_overhead_seconds_bucket", le="5e-05") == 0


def test_one_that_was_refused_has_no_times_and_no_domain() -> None:
    refused = exchange(
        attempts=0,
        outcome=Outcome.REFUSED,
        status=401,
        kind=Kind.OTHER,
        model="",
        answered_model="",
        first_byte_ms=None,
    )
    counted = Counted(refused)
    ending = {"kind": "other", "outcome": "refused", "status_class": "4xx"}
    assert counted("nexus_requests_total", domain="none", model="none", **ending) == 1
    assert counted("nexus_request_duration_seconds_count", kind="other", stream="true") is None
    assert counted("nexus_overhead_seconds_count") == 0


def test_retries_are_the_calls_after_the_first() -> None:
    counted = Counted(exchange(attempts=3), exchange(attempts=1))
    model = "claude-haiku-4-5-20251001"
    assert counted("nexus_upstream_attempts_total", model=model) == 4
    assert counted("nexus_upstream_retries_total", model=model) == 2


def test_what_has_no_price_is_told() -> None:
    counted = Counted(exchange(answered_model="claude-new", pricing=Pricing.UNPRICED, cost=None))
    assert counted("nexus_unpriced_requests_total", model="claude-new") == 1
    assert counted("nexus_cost_usd_total", domain="none", model="claude-new") == 0


def test_a_name_that_nobody_knows_is_no_label() -> None:
    models = Models(lambda: PRICES)
    assert models.label(exchange(model="made-up", answered_model="")) == OTHER
    assert models.label(exchange(model="claude-priced-1", answered_model="")) == "claude-priced-1"
    assert models.label(exchange(model="alias", answered_model="claude-answered")) == "claude-answered"
    assert models.label(exchange(model="claude-answered", answered_model="")) == "claude-answered"


def test_names_that_are_made_up_leave_room_for_models_that_answer() -> None:
    models = Models(lambda: PRICES)
    asked = {models.label(exchange(model=f"claude-priced-{number}", answered_model="")) for number in range(500)}
    assert len(asked) == ASKED_MAX + 1
    assert models.label(exchange(answered_model="claude-real")) == "claude-real"


def test_there_are_a_hundred_models_at_most() -> None:
    models = Models(lambda: PRICES)
    labels = {models.label(exchange(answered_model=f"claude-{number}")) for number in range(500)}
    assert len(labels) == MODELS_MAX + 1
    assert OTHER in labels
    assert models.label(exchange(answered_model="claude-0")) == "claude-0"


@pytest.mark.parametrize(
    ("status", "expected"), [(200, "2xx"), (404, "4xx"), (429, "429"), (529, "5xx"), (None, "none")]
)
def test_statuses_have_classes(status: int | None, expected: str) -> None:
    assert status_class(status) == expected


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("key requests per minute", ("key", "requests per minute")),
        ("all concurrent requests", ("all", "concurrent requests")),
        ("key tokens in 90 s", ("key", "tokens")),
        ("domain models", ("domain", "models")),
        ("unpriced model", ("all", "unpriced model")),
        ("budget all the money in the world", ("budget", "money")),
        ("budget", ("budget", "money")),
        ("something per else", ("other", "other")),
        ("key nonsense", ("other", "other")),
    ],
)
def test_names_of_budgets_are_no_labels_of_refusals(name: str, labels: tuple[str, str]) -> None:
    assert refused_by(name) == labels


def test_a_refusal_counts_by_what_refused_it() -> None:
    facts = {"outcome": Outcome.REFUSED, "status": 429, "attempts": 0}
    told = Counted(exchange(refused_by="key requests per hour", **facts), exchange(refused_by="budget Team", **facts))
    name = "nexus_limit_refusals_total"
    assert told.registry.get_sample_value(name, {"scope": "key", "limit": "requests per hour"}) == 1
    assert told.registry.get_sample_value(name, {"scope": "budget", "limit": "money"}) == 1
