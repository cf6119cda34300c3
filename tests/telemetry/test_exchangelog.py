"""The line of an exchange: its keys, its level, and what it never says."""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from accounts.facts import Snapshot
from accounts.ids import new_id
from accounts.models import ClientKey, Credential
from accounts.register import load
from telemetry.exchangelog import ExchangeLog
from telemetry.record.exchange import Exchange, Outcome, Pricing
from tests.telemetry.facts import exchange

KEYS = [
    *("timestamp", "level", "logger", "event", "request_id", "correlation_id"),
    *("domain", "client_key", "credential", "credential_source", "method", "path", "kind", "is_stream"),
    *("model", "answered_model", "status", "outcome", "error_type", "attempts"),
    *("duration_ms", "first_byte_ms", "overhead_us", "waited_ms"),
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"),
    *("usage_source", "cost_usd", "pricing", "stop_reason", "session_id", "upstream_request_id"),
    *("request_bytes", "response_bytes"),
]
EMPTY = Snapshot(generation=1, pepper="fake")


@pytest.fixture(autouse=True)
def at_info() -> Iterator[None]:
    logger = logging.getLogger("nexus.exchange")
    before = logger.level
    logger.setLevel(logging.INFO)
    yield
    logger.setLevel(before)


def said_of(*exchanges: Exchange, as_json: bool = True) -> list[str]:
    writes: list[str] = []
    ExchangeLog(lambda: EMPTY, writes.append, as_json=as_json)(exchanges)
    assert len(writes) <= 1, "one write for a batch"
    return "".join(writes).split("\n")[:-1]


def line_of(**facts: Any) -> dict[str, Any]:
    (line,) = said_of(exchange(**facts))
    read: dict[str, Any] = json.loads(line)
    return read


def test_its_keys_are_fixed() -> None:
    assert list(line_of()) == KEYS
    assert list(line_of(status=None, outcome=Outcome.CANCELLED, first_byte_ms=None)) == KEYS


def test_the_documentation_names_each() -> None:
    documentation = (Path(__file__).parent.parent.parent / "docs" / "logs.md").read_text()
    assert [key for key in KEYS if f"`{key}`" not in documentation] == []


def test_it_is_stamped_when_the_exchange_ended() -> None:
    line = line_of(started_at=datetime(2026, 1, 2, 3, 4, 5, 600_000, UTC), duration_ms=1500)
    assert line["timestamp"] == "2026-01-02T03:04:07.100Z"


def test_counts_are_numbers_and_money_is_text() -> None:
    line = line_of(cost=Decimal("0.0000012300"), pricing=Pricing.PRICED, input_tokens=12)
    assert (line["input_tokens"], line["cost_usd"], line["pricing"]) == (12, "0.0000012300", "priced")
    assert line_of(cost=None, pricing=Pricing.UNPRICED)["cost_usd"] is None


def test_it_says_nothing_of_what_was_said() -> None:
    words = {"error_message": "canary", "query": "canary", "user_agent": "canary", "client_address": "canary"}
    assert "canary" not in str(line_of(**words, usage='{"canary":1}', error_type="api_error"))


@pytest.mark.parametrize(
    "field", ["model", "answered_model", "path", "session_id", "stop_reason", "upstream_request_id"]
)
def test_a_secret_is_cut_out_wherever_others_put_it(field: str) -> None:
    line = line_of(**{field: "/sk-ant-api03-fake/nxs_live_fake"})
    assert line[field] == "/sk-ant-…/nxs_live_…"
    assert line["input_tokens"] == 10


@pytest.mark.parametrize(
    ("outcome", "status", "level"),
    [
        (Outcome.COMPLETED, 200, "info"),
        (Outcome.REFUSED, 401, "info"),
        (Outcome.API_ERROR, 429, "info"),
        (Outcome.CANCELLED, None, "info"),
        (Outcome.API_ERROR, 529, "warning"),
        (Outcome.BROKEN, 200, "warning"),
        (Outcome.UPSTREAM_FAILED, 502, "warning"),
        (Outcome.FAILED, 500, "error"),
        (Outcome.FAILED, None, "error"),
    ],
)
def test_trouble_is_louder(outcome: Outcome, status: int | None, level: str) -> None:
    assert line_of(outcome=outcome, status=status)["level"] == level


def test_at_warning_only_trouble_is_said() -> None:
    logging.getLogger("nexus.exchange").setLevel(logging.WARNING)
    assert said_of(exchange()) == []
    assert len(said_of(exchange(), exchange(outcome=Outcome.FAILED))) == 1


def test_who_it_was_has_a_name(issued: tuple[ClientKey, str], credential: Credential) -> None:
    key, snapshot, unknown = issued[0], load(), new_id()
    writes: list[str] = []
    log = ExchangeLog(lambda: snapshot, writes.append, as_json=True)
    ids = {"domain_id": key.domain_id, "client_key_id": key.id}
    log([exchange(**ids, credential_id=credential.id), exchange(**ids, credential_id=unknown)])
    first, second = (json.loads(line) for line in writes[0].splitlines())
    assert (first["domain"], first["client_key"], first["credential"]) == ("claude.example.com", "Ada's laptop", "main")
    assert second["credential"] == str(unknown)


@pytest.mark.parametrize("model", ["\x1b[31mred", "two\nlines", "\u2028", 'a"b', "é"])
def test_a_model_of_any_name_leaves_it_one_line(model: str) -> None:
    assert line_of(answered_model=model)["answered_model"] == model
    (line,) = said_of(exchange(answered_model=model), as_json=False)
    assert line.isprintable()


def test_people_get_columns_and_colours_only_where_they_asked() -> None:
    facts = exchange(outcome=Outcome.UPSTREAM_FAILED, status=502, error_type="api_error", output_tokens=1234)
    (plain,) = said_of(facts, as_json=False)
    assert "[warning  ] POST 502 upstream_failed" in plain
    assert "1,234 out" in plain
    assert plain.endswith(f"api_error  {facts.id}")
    writes: list[str] = []
    ExchangeLog(lambda: EMPTY, writes.append, as_json=False, colors=True)([facts])
    assert writes[0].replace("\x1b[33m", "").replace("\x1b[0m", "") == plain + "\n"
