"""The query API: figures by domain."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.ids import first_id_at, new_id
from accounts.models import Domain
from telemetry.models import BodyRow, PieceRow
from telemetry.money.rollups import roll_up
from telemetry.record.exchange import Kind, Outcome
from telemetry.timelimit import time_limited
from tests.dashboard.asking import bare_exchange, figures, get, reads, refusal
from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db(transaction=True)


def test_tokens_are_counted_by_domain(script: Client, domain: Domain, other_domain: Domain) -> None:
    now = datetime.now(UTC)
    for kind, tools in ((Kind.INFERENCE, 2), (Kind.INFERENCE, 1), (Kind.QUERY_EVALUATION, 0)):
        stored_exchange(domain_id=domain.id, kind=kind, tool_calls=tools, started_at=now)
    stored_exchange(domain_id=other_domain.id)
    long_ago = now - timedelta(hours=25)
    stored_exchange(domain_id=domain.id, id=first_id_at(long_ago), started_at=long_ago)
    stats = figures(script, "/token-stats")
    assert stats["claude.example.com"] == {
        "inputTokens": 30,
        "outputTokens": 60,
        "cacheReadTokens": 90,
        "cacheWriteTokens": 270,
        "requestCount": 3,
        "queryEvaluationCount": 1,
        "inferenceCount": 2,
        "toolCallCount": 3,
        "cost": "0.0000000000",
        "unpricedCount": 0,
        "lastUpdated": int(now.timestamp() * 1000),
    }
    assert stats.keys() == {"claude.example.com", "other.example.com"}
    assert figures(script, "/token-stats", domain="other.example.com").keys() == {"other.example.com"}
    assert figures(script, "/token-stats", domain="nobody.example.com") == {}
    since = (now - timedelta(days=2)).isoformat()
    assert figures(script, "/token-stats", since=since)["claude.example.com"]["requestCount"] == 4


def test_requests_without_a_domain_are_counted_too(script: Client) -> None:
    bare_exchange(outcome=Outcome.REFUSED, status=401)
    assert figures(script, "/token-stats")["(none)"]["requestCount"] == 1
    assert figures(script, "/api/storage-stats")["stats"][0]["domain"] is None


def test_figures_of_the_record_by_domain_and_kind(script: Client, domain: Domain) -> None:
    for outcome in (Outcome.COMPLETED, Outcome.CANCELLED, Outcome.API_ERROR):
        stored_exchange(b"x" * 50, domain_id=domain.id, outcome=outcome)
    stored_exchange(domain_id=domain.id, kind=Kind.QUOTA)
    answer = figures(script, "/api/storage-stats")
    assert answer["status"] == "ok"
    assert answer["stats"] == [
        {
            "domain": "claude.example.com",
            "kind": kind,
            "request_type": kind,
            "count": count,
            "errors": errors,
            "input_tokens": 10 * count,
            "output_tokens": 20 * count,
            "cache_read_tokens": 30 * count,
            "cache_write_5m_tokens": 40 * count,
            "cache_write_1h_tokens": 50 * count,
        }
        for kind, count, errors in (("inference", 3, 1), ("quota", 1, 0))
    ]


def test_figures_of_what_bodies_take(script: Client, domain: Domain) -> None:
    for _ in range(2):
        stored_exchange(domain_id=domain.id)
    BodyRow.objects.update(stored_bytes=100)
    PieceRow.objects.create(
        id=new_id(), domain=domain, last_used_on=datetime.now(UTC).date(), size_bytes=9, stored_bytes=7, data=b""
    )
    (storage,) = figures(script, "/api/storage-stats")["storage"]
    assert storage == {
        "domain": "claude.example.com",
        "bodies": 2,
        "body_bytes": 200,
        "pieces": 1,
        "piece_bytes": 7,
    }


def test_figures_cost_the_same_for_one_domain_and_for_many(
    script: Client, domain: Domain, other_domain: Domain
) -> None:
    for one in (domain, other_domain):
        stored_exchange(domain_id=one.id)
    roll_up()
    for path, count in (("/token-stats", 2), ("/api/storage-stats", 5)):
        with CaptureQueriesContext(connection) as queries:
            get(script, path)
        assert reads(queries) == count


@pytest.mark.parametrize("path", ["/token-stats", "/api/storage-stats"])
def test_figures_refuse_what_cannot_be_meant(script: Client, path: str) -> None:
    for query in ({"since": "2026-11-20"}, {"until": "2026-11-20T00:00:00Z"}, {"domain": "\0"}):
        refusal(script, path, query)


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite knows no time limit")
def test_a_question_that_takes_too_long_is_answered_with_a_sentence(
    script: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is real: the database itself ends a query that would take three seconds."""
    assert connection.vendor == "postgresql"

    def slow(*args: Any) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(3)")
        return []

    monkeypatch.setattr("dashboard.api.time_limited", lambda: time_limited(0.05))
    monkeypatch.setattr("dashboard.figures.token_stats", slow)
    answer = script.get("/token-stats")
    assert answer.status_code == 503
    assert "Ask for less" in answer.json()["error"]
    monkeypatch.undo()
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)
