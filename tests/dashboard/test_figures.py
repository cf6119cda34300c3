"""Figures over the sums by the hour: equal to sums over the record, made in plain Python."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.access import EVERYTHING
from accounts.models import ClientKey, Credential, Domain
from dashboard import figures
from dashboard.filters import By, Figures, Step
from dashboard.sums import TOKENS, Sums
from telemetry.models import DayRow, ExchangeRow, HourMark, HourRow, HourState
from telemetry.money.histogram import BOUNDS_MS, BUCKETS, percentile_ms
from telemetry.money.marks import hour_of
from telemetry.money.rollups import roll_up
from telemetry.record.exchange import Closed, Kind, Pricing
from telemetry.record.store import store
from tests.dashboard.asking import figures as asked_figures
from tests.dashboard.asking import get, reads, refusal
from tests.telemetry.facts import exchange
from tests.telemetry.money.made import NOON, batches_of_exchanges, id_at

pytestmark = pytest.mark.django_db(transaction=True)
STATS = "/api/stats"
SPAN = {"since": (NOON - timedelta(hours=2)).isoformat(), "until": (NOON + timedelta(days=2)).isoformat()}
SPANS = [(0, 1), (0, 24), (0, 48), (0, 96), (-13, 84), (-80, 24), (-13 * 24, 13 * 24)]
"""In hours from noon: by the hour, and by the day with hours before, behind, on both sides."""
KEYS_OF: dict[By, Callable[[ExchangeRow], Any]] = {
    By.MODEL: lambda row: row.answered_model or row.model,
    By.KEY: lambda row: row.client_key_id,
    By.DOMAIN: lambda row: row.domain_id,
    By.CREDENTIAL: lambda row: row.credential_id,
    By.KIND: lambda row: row.kind,
}


def plain(rows: Iterable[ExchangeRow]) -> dict[str, Any]:
    """What `Sums` says, the slow way."""
    found = list(rows)
    tokens = {name: sum(getattr(row, name) for row in found) for name in TOKENS}
    prompt = sum(tokens.values()) - tokens["output_tokens"]
    errors = sum(row.outcome not in ("completed", "cancelled") for row in found)
    sent = [row for row in found if row.attempts]
    return tokens | {
        "requests": len(found),
        "streams": sum(row.is_stream for row in found),
        "errors": errors,
        "success_share": (len(found) - errors) / len(found) if found else None,
        "cost": f"{sum((row.cost or Decimal(0) for row in found), Decimal(0)):.10f}",
        "unpriced": sum(row.pricing == Pricing.UNPRICED for row in found),
        "cache_hit_share": tokens["cache_read_tokens"] / prompt if prompt else None,
        "attempts": sum(row.attempts for row in found),
        "latency_ms": percentiles(row.duration_ms for row in sent),
        "first_byte_ms": percentiles(row.first_byte_ms for row in sent if row.first_byte_ms is not None),
    }


def percentiles(times: Iterable[int]) -> dict[str, float | None]:
    counts = [0] * len(BUCKETS)
    for time in times:
        counts[bisect_left(BOUNDS_MS, time)] += 1
    return {f"p{percent}": percentile_ms(counts, percent / 100) for percent in (50, 95, 99)}


def shown(sums: Sums) -> dict[str, Any]:
    everything = asdict(sums)
    return {name: everything[name] for name in plain(())}


def asked(**query: Any) -> Figures:
    return Figures.model_validate(SPAN | query)


def put(minutes: float = 0, **facts: Any) -> None:
    moment = NOON + timedelta(minutes=minutes)
    assert store([Closed(exchange(**{"id": id_at(moment), "started_at": moment} | facts), None)]) == 1


@settings(max_examples=25, deadline=None)
@given(batch=batches_of_exchanges(), span_hours=st.sampled_from(SPANS), step=st.sampled_from([None, *Step]))
def test_figures_are_those_of_plain_python(batch: list[Closed], span_hours: tuple[int, int], step: Step | None) -> None:
    for model in (ExchangeRow, HourRow, DayRow, HourState, HourMark):
        model.objects.all().delete()
    store(batch)
    roll_up(at_once=True)
    since, until = (NOON + timedelta(hours=hours) for hours in span_hours)
    question = asked(since=since, until=until)
    span = figures.hours_of(question)
    within = [row for row in ExchangeRow.objects.all() if span.since <= hour_of(row.id) < span.until]
    assert shown(figures.totals(EVERYTHING, question, span)) == plain(within)
    _, points = figures.series(EVERYTHING, question, span, step)
    assert sum(point.figures.requests for point in points) == len(within)
    for place, point in enumerate(points):
        end = points[place + 1].at if place + 1 < len(points) else span.until
        assert shown(point.figures) == plain(row for row in within if point.at <= row.started_at < end)
    for by, key_of in KEYS_OF.items():
        parts, others = figures.breakdown(EVERYTHING, question, span, by, 10)
        assert others is None
        assert {part.id for part in parts} == {key_of(row) for row in within}
        for part in parts:
            assert shown(part.figures) == plain(row for row in within if key_of(row) == part.id)


def test_the_span_before_is_as_long(script: Client) -> None:
    for minutes, count in ((0, 3), (-30, 2), (-90, 1)):
        for _ in range(count):
            put(minutes)
    answer = asked_figures(script, STATS, since="2025-06-11T12:59:00Z", until="2025-06-11T13:00:00Z")
    assert (answer["since"], answer["until"]) == ("2025-06-11T12:00:00Z", "2025-06-11T13:00:00Z")
    assert answer["totals"]["requests"] == 3
    before = answer["before"]
    assert (before["since"], before["until"]) == ("2025-06-11T11:00:00Z", "2025-06-11T12:00:00Z")
    assert before["totals"]["requests"] == 2


def test_hours_count_in_full_and_up_to_now_by_default(script: Client) -> None:
    answer = get(script, STATS)
    since, until = (datetime.fromisoformat(answer[name]) for name in ("since", "until"))
    assert until - since == timedelta(hours=25)
    assert timedelta() < until - datetime.now(UTC) <= timedelta(hours=1)
    assert get(script, STATS, until="9999-12-31T23:59:59Z")["until"] == answer["until"]
    assert get(script, STATS, since="1970-01-01T00:00:00Z")["totals"]["requests"] == 0


def test_every_filter_narrows(script: Client, domain: Domain, credential: Credential) -> None:
    key, _ = ClientKey.issue(domain, "Ada's laptop")
    put(domain_id=domain.id, client_key_id=key.id, credential_id=credential.id, answered_model="m", kind=Kind.QUOTA)
    put()
    for query in (
        {"domain": domain.host},
        {"key": str(key.id)},
        {"key": key.name},
        {"credential": credential.name},
        {"model": "m"},
        {"kind": "quota"},
        {"domain": domain.host, "model": "m", "kind": "quota"},
    ):
        assert asked_figures(script, STATS, **SPAN, **query)["totals"]["requests"] == 1, query
    assert get(script, STATS, **SPAN)["totals"]["requests"] == 2
    assert get(script, STATS, **SPAN, domain=domain.host, kind="batch")["totals"]["requests"] == 0


@pytest.mark.parametrize(
    ("days", "step", "width", "count"),
    [
        (2, "", 1, 48),
        (12.5, "", 1, 300),
        (13, "", 24, 13),
        (30, "hour", 3, 240),
        (300, "day", 24, 300),
        (400, "", 48, 200),
    ],
)
def test_a_series_has_at_most_300_points(script: Client, days: float, step: str, width: int, count: int) -> None:
    put(-1)
    since = NOON.replace(hour=0) - timedelta(days=days)
    answer = asked_figures(
        script, f"{STATS}/series", since=since.isoformat(), until=NOON.replace(hour=0).isoformat(), step=step
    )
    assert (answer["hours_per_point"], len(answer["points"])) == (width, count)
    ats = [datetime.fromisoformat(point["at"]) for point in answer["points"]]
    assert ats[0] == since.replace(minute=0, second=0)
    assert {later - earlier for earlier, later in pairwise(ats)} == {timedelta(hours=width)}


def test_a_day_begins_at_midnight_and_the_first_where_it_was_asked_for(script: Client) -> None:
    for minutes in (-30, 30, 12 * 60 + 30):
        put(minutes)
    answer = asked_figures(script, f"{STATS}/series", since=NOON.isoformat(), until=SPAN["until"], step="day")
    assert [(point["at"], point["figures"]["requests"]) for point in answer["points"]] == [
        ("2025-06-11T12:00:00Z", 1),
        ("2025-06-12T00:00:00Z", 1),
    ] + [("2025-06-13T00:00:00Z", 0)] * (len(answer["points"]) - 2)


def test_a_breakdown_names_what_it_shows_and_sums_up_the_rest(script: Client, domain: Domain) -> None:
    keys = [ClientKey.issue(domain, name)[0] for name in ("one", "two", "three")]
    for number, key in enumerate(keys, 1):
        for _ in range(number):
            put(domain_id=domain.id, client_key_id=key.id, cost=Decimal(number), pricing=Pricing.PRICED)
    put()
    answer = asked_figures(script, f"{STATS}/breakdown", **SPAN, by="key", limit="2")
    assert [(part["id"], part["name"]) for part in answer["parts"]] == [
        (str(keys[2].id), "three"),
        (str(keys[1].id), "two"),
    ]
    assert [part["figures"]["cost"] for part in answer["parts"]] == ["9.0000000000", "4.0000000000"]
    assert (answer["others"]["requests"], answer["others"]["cost"]) == (2, "1.0000000000")
    assert get(script, f"{STATS}/breakdown", **SPAN, by="key")["others"] is None


def test_choices_are_what_was_seen(
    script: Client, domain: Domain, other_domain: Domain, credential: Credential
) -> None:
    key, _ = ClientKey.issue(domain, "Ada's laptop")
    put(domain_id=domain.id, client_key_id=key.id, credential_id=credential.id, answered_model="b")
    put(answered_model="a")
    put(-500, domain_id=other_domain.id)
    answer = asked_figures(script, f"{STATS}/choices", **SPAN)
    assert {name: answer[name] for name in ("models", "keys", "domains", "credentials", "kinds")} == {
        "models": ["a", "b"],
        "keys": [{"id": str(key.id), "name": "Ada's laptop"}],
        "domains": [{"id": str(domain.id), "name": domain.host}],
        "credentials": [{"id": str(credential.id), "name": "main"}],
        "kinds": ["inference"],
    }


@pytest.mark.parametrize(
    ("path", "count", "with_domain"),
    [(STATS, 2, 4), (f"{STATS}/series", 1, 2), (f"{STATS}/breakdown", 1, 2), (f"{STATS}/choices", 8, 9)],
)
def test_figures_cost_the_same_number_of_queries(
    script: Client, domain: Domain, credential: Credential, path: str, count: int, with_domain: int
) -> None:
    for number in range(3):
        key, _ = ClientKey.issue(domain, f"key {number}")
        put(number * 60, domain_id=domain.id, client_key_id=key.id, credential_id=credential.id)
    roll_up()
    with CaptureQueriesContext(connection) as queries:
        get(script, path, **SPAN)
    assert reads(queries) == count
    with CaptureQueriesContext(connection) as queries:
        get(script, path, **SPAN, domain=domain.host)
    assert reads(queries) == with_domain


@pytest.mark.parametrize(
    ("path", "count"), [(STATS, 6), (f"{STATS}/series", 3), (f"{STATS}/breakdown", 3), (f"{STATS}/choices", 15)]
)
def test_a_month_is_read_by_the_day(script: Client, path: str, count: int) -> None:
    """And the hours of its first and last day."""
    put()
    roll_up()
    with CaptureQueriesContext(connection) as queries:
        get(script, path, since=(NOON - timedelta(days=20)).isoformat(), until=(NOON + timedelta(days=10)).isoformat())
    assert reads(queries) == count
    assert any('"telemetry_day"' in query["sql"] for query in queries)
    HourRow.objects.all().delete()
    if path == STATS:
        answer = get(script, path, since=(NOON - timedelta(days=20)).isoformat(), until=SPAN["until"])
        assert answer["totals"]["requests"] == 1


def test_no_figure_reads_the_record(script: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        for path in (STATS, f"{STATS}/series", f"{STATS}/breakdown", f"{STATS}/choices", "/token-stats"):
            get(script, path)
    assert not [query["sql"] for query in queries if '"telemetry_exchange"' in query["sql"]]


@pytest.mark.parametrize("path", [STATS, f"{STATS}/series", f"{STATS}/breakdown", f"{STATS}/choices"])
def test_what_cannot_be_meant_is_refused(script: Client, path: str) -> None:
    for query in (
        {"since": "2026-11-20"},
        {"since": "2100-01-01T00:00:00Z"},
        {"since": "2026-11-20T00:00:00Z", "until": "2026-11-20T00:00:00Z"},
        {"kind": "x"},
        {"by": "colour"},
        {"step": "minute"},
        {"limit": "0"},
        {"model": "\0"},
    ):
        assert refusal(script, path, query).endswith(".")
