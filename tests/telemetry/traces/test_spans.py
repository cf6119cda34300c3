"""Spans on their way to a collector that takes them, refuses them, or says nothing."""

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from telemetry.record.exchange import Outcome
from telemetry.traces import spans as module
from telemetry.traces.conf import TraceConf
from telemetry.traces.context import Trace
from telemetry.traces.spans import Spans
from tests.e2e.collector import Collector, attributes, collector
from tests.served import eventually
from tests.services import free_port
from tests.telemetry.facts import exchange

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
DOMAIN = uuid4()
FAKE_PATH = "/fake-token-in-a-path"


@pytest.fixture
def taken() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")


def spans_to(url: str, **options: Any) -> Spans:
    conf = TraceConf(endpoint=url, service_name="gateway", **options)
    return Spans(conf, "1.2.3", "api.anthropic.com", lambda: {DOMAIN: "claude.example.com"})


def traced(number: int = 1, **changes: Any) -> Any:
    return exchange(trace=Trace(TRACE, f"{number:016x}"), domain_id=DOMAIN, **changes)


def test_a_span_lasts_as_long_as_its_exchange_to_the_nanosecond(taken: Collector) -> None:
    at = datetime(2026, 11, 23, 6, 30, 15, 123456, UTC)
    trace = Trace(TRACE, f"{7:016x}", PARENT, state="congo=1")
    spans = spans_to(taken.url)
    spans([exchange(trace=trace, started_at=at, duration_ms=1500, domain_id=DOMAIN)])
    spans.stop()

    [span] = taken.spans
    assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()) == (TRACE, f"{7:016x}", PARENT)
    assert span.start_time_unix_nano == 1795415415123456000
    assert span.end_time_unix_nano - span.start_time_unix_nano == 1_500_000_000
    assert span.trace_state == "congo=1"
    assert attributes(span)["nexus.domain"] == "claude.example.com"
    assert taken.resources[0]["service.name"] == "gateway"
    assert taken.resources[0]["service.version"] == "1.2.3"


def test_a_stop_sends_what_waits_and_each_once(taken: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    spans = spans_to(taken.url)
    spans([traced(number) for number in range(1, 1501)])
    spans.stop()
    assert sorted(int(span.span_id.hex(), 16) for span in taken.spans) == list(range(1, 1501))


def test_what_is_not_sampled_and_what_has_no_trace_is_no_span(taken: Collector) -> None:
    spans = spans_to(taken.url)
    spans([exchange(), exchange(trace=Trace(TRACE, PARENT, is_sampled=False)), traced()])
    spans.stop()
    assert len(taken.spans) == 1


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_status_says_how_it_ended_and_no_more(taken: Collector, outcome: Outcome) -> None:
    spans = spans_to(taken.url)
    spans([traced(outcome=outcome, error_message="what went wrong")])
    spans.stop()
    [span] = taken.spans
    is_error = outcome not in (Outcome.COMPLETED, Outcome.CANCELLED)
    assert span.status.code == (span.status.STATUS_CODE_ERROR if is_error else span.status.STATUS_CODE_UNSET)
    assert span.status.message == ""


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_a_collector_that_refuses_is_told_of_once_and_heard_again(
    taken: Collector, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    taken.statuses = [status, status]
    spans = spans_to(taken.url + FAKE_PATH)
    for number in (1, 2, 3):
        spans([traced(number)])
        eventually(lambda: len(taken.headers) == number)  # noqa: B023 (called at once)
    spans.stop()

    assert [int(span.span_id.hex(), 16) for span in taken.spans] == [3]
    ours = [record.getMessage() for record in caplog.records if record.name == module.__name__]
    assert ours == [
        f"the collector of traces answers {status}: spans are dropped",
        "the collector of traces takes spans again: 2 were dropped",
    ]


def test_a_collector_that_is_away_is_told_of_once_without_its_address(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXPORT_SECONDS", 0.2)
    caplog.set_level(logging.DEBUG)
    spans = spans_to(f"http://fake-user:fake-password@127.0.0.1:{free_port()}{FAKE_PATH}")
    for number in (1, 2):
        spans([traced(number)])
        eventually(lambda: not spans._processor._batch_processor._queue)
    eventually(lambda: "cannot be reached" in caplog.text)
    spans.stop()

    said = [record for record in caplog.records if record.name == module.__name__]
    assert [record.getMessage() for record in said] == ["the collector of traces cannot be reached: spans are dropped"]
    assert "fake-password" not in " ".join(record.getMessage() for record in said)


def test_a_collector_that_says_nothing_holds_up_a_stop_for_two_seconds_at_most(taken: Collector) -> None:
    taken.is_silent.set()
    spans = spans_to(taken.url)
    spans([traced()])
    eventually(lambda: taken.headers)
    began = time.monotonic()
    spans.stop()
    assert time.monotonic() - began < module.STOP_SECONDS + 0.5


def test_more_spans_than_wait_are_dropped_and_nobody_waits(taken: Collector) -> None:
    taken.is_silent.set()
    spans = spans_to(taken.url)
    spans([traced()])
    eventually(lambda: taken.headers)  # from here on nothing leaves
    began = time.monotonic()
    spans([traced(number) for number in range(1, 3 * module.QUEUE_MAX_SPANS)])
    assert time.monotonic() - began < 5
    assert len(spans._processor._batch_processor._queue) == module.QUEUE_MAX_SPANS
    taken.is_silent.clear()
    spans.stop()


def test_the_collector_gets_the_headers_that_are_its_own(taken: Collector) -> None:
    spans = spans_to(taken.url, headers={"authorization": "Bearer fake-collector-token"})
    spans([traced()])
    spans.stop()
    assert taken.headers[0]["authorization"] == "Bearer fake-collector-token"
