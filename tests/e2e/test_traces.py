"""Spans of a served Nexus, as a collector gets them."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.e2e.collector import Collector, attributes, collector
from tests.served import Served, eventually, serve
from tests.services import free_port

pytestmark = pytest.mark.e2e

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
STOPS_SECONDS = 10
"""What a stop takes at most: two of them for the spans."""
CANARY = "Bluebird-canary-0123456789"


@pytest.fixture(scope="module")
def taken() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture(scope="module")
def traced(standin: Standin, taken: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    variables: dict[str, Any] = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": taken.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer fake-collector-token",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_FORWARD_TRACEPARENT": "true",
    }
    with serve(tmp_path_factory.mktemp("traced"), standin.url, **variables) as served:
        yield served


def ask(served: Served, said: str, *more: tuple[str, str], key: str = "", stream: bool = False) -> str:
    """The id of the request."""
    body = {"model": "claude-haiku-4-5", "max_tokens": 64, "stream": stream}
    body["messages"] = [{"role": "user", "content": f"{CANARY} {said}"}]
    headers = [("host", "localhost"), ("x-api-key", key or served.key), ("anthropic-version", "2023-06-01"), *more]
    answer = rawhttp.request(served.port, "POST", f"/v1/messages?q={CANARY}", headers, json.dumps(body).encode())
    return answer.header("x-nexus-request-id")


def span_of(taken: Collector, request_id: str) -> Any:
    def found() -> list[Any]:
        return [span for span in list(taken.spans) if attributes(span)["nexus.request_id"] == request_id]

    spans = eventually(found)
    assert len(spans) == 1
    return spans[0]


@pytest.mark.once
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_a_span_in_the_words_of_the_conventions(traced: Served, taken: Collector, stream: bool) -> None:
    request_id = ask(traced, "Hello", stream=stream)
    row = traced.exchange(request_id)
    span = span_of(taken, request_id)
    said = attributes(span)

    assert span.name == "chat claude-haiku-4-5"
    assert span.kind == span.SPAN_KIND_CLIENT
    assert span.status.code == span.status.STATUS_CODE_UNSET
    assert span.end_time_unix_nano - span.start_time_unix_nano == row["duration_ms"] * 1_000_000
    assert said["gen_ai.provider.name"] == "anthropic"
    assert said["gen_ai.request.model"] == "claude-haiku-4-5"
    assert said["gen_ai.response.model"] == row["answered_model"]
    assert said["gen_ai.response.id"] == row["message_id"]
    assert said["gen_ai.response.finish_reasons"] == [row["stop_reason"]]
    cached = row["cache_read_tokens"], row["cache_write_5m_tokens"] + row["cache_write_1h_tokens"]
    assert said["gen_ai.usage.input_tokens"] == row["input_tokens"] + sum(cached)
    assert said["gen_ai.usage.cache_read.input_tokens"] == cached[0]
    assert said["gen_ai.usage.cache_creation.input_tokens"] == cached[1]
    assert said["gen_ai.usage.output_tokens"] == row["output_tokens"]
    assert said["nexus.domain"] == "localhost"
    assert said["nexus.cost_usd"] == pytest.approx(float(row["cost"]))
    assert said["http.response.status_code"] == 200


@pytest.mark.once
def test_a_client_s_trace_goes_on_and_reaches_the_api(traced: Served, taken: Collector, standin: Standin) -> None:
    request_id = ask(traced, "Hello", ("traceparent", PARENT), ("tracestate", "congo=1"), ("baggage", "user=grace"))
    received = standin.recorder.last
    span = span_of(taken, request_id)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert received.header("traceparent") == f"00-{TRACE}-{span.span_id.hex()}-01"
    assert received.header("tracestate") == "congo=1"
    assert received.header("baggage") is None


@pytest.mark.once
def test_a_trace_that_its_client_does_not_sample_is_not_exported(traced: Served, taken: Collector) -> None:
    silent = ask(traced, "Hello", ("traceparent", PARENT[:-2] + "00"))
    after = ask(traced, "Hello")
    span_of(taken, after)  # told in order
    assert silent not in {attributes(span)["nexus.request_id"] for span in taken.spans}


@pytest.mark.once
def test_errors_and_refusals_are_spans_with_a_type(traced: Served, taken: Collector) -> None:
    failed = span_of(taken, ask(traced, "Hello", ("x-standin", "status=529")))
    assert failed.status.code == failed.status.STATUS_CODE_ERROR
    assert attributes(failed)["error.type"] == "overloaded_error"
    refused = attributes(span_of(taken, ask(traced, "Hello", key="nxs_live_wrong")))
    assert (refused["nexus.outcome"], refused["error.type"]) == ("refused", "authentication_error")
    assert refused["http.response.status_code"] == 401


@pytest.mark.once
def test_what_is_no_message_has_a_name_without_ids(traced: Served, taken: Collector) -> None:
    headers = [("host", "localhost"), ("x-api-key", traced.key)]
    answer = rawhttp.request(traced.port, "GET", "/v1/models/claude-haiku-4-5", headers)
    span = span_of(taken, answer.header("x-nexus-request-id"))
    assert span.name == "GET /v1/models"
    assert "gen_ai.request.model" not in attributes(span)

    answer = rawhttp.request(traced.port, "GET", f"/v1/{CANARY}", headers)
    assert span_of(taken, answer.header("x-nexus-request-id")).name == "GET /v1"


@pytest.mark.once
def test_counting_tokens_is_a_span_that_uses_none(traced: Served, taken: Collector) -> None:
    headers = [("x-api-key", traced.key), ("anthropic-version", "2023-06-01")]
    body = {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": CANARY}]}
    sent = json.dumps(body).encode()
    answer = rawhttp.request(traced.port, "POST", "/v1/messages/count_tokens", headers, sent)
    assert answer.status == 200
    span = span_of(taken, answer.header("x-nexus-request-id"))
    assert span.name == "count_tokens claude-haiku-4-5"
    assert "gen_ai.usage.input_tokens" not in attributes(span)


@pytest.mark.once
def test_nothing_that_was_said_reaches_the_collector(traced: Served, taken: Collector) -> None:
    span_of(taken, ask(traced, "Hello", ("user-agent", CANARY), ("x-standin", "status=400")))
    for secret in (CANARY, traced.key, "fake-collector-token"):
        assert secret.encode() not in taken.raw
    assert taken.headers[-1]["authorization"] == "Bearer fake-collector-token"
    assert {resource["service.name"] for resource in taken.resources} == {"nexus"}


@pytest.mark.once
def test_a_client_that_leaves_is_a_span_and_no_error(traced: Served, taken: Collector, standin: Standin) -> None:
    body = {"model": "claude-haiku-4-5", "max_tokens": 64, "stream": True}
    body["messages"] = [{"role": "user", "content": CANARY}]
    headers = [("x-api-key", traced.key), ("anthropic-version", "2023-06-01"), ("x-standin", "silent_at=2")]
    headers.append(("user-agent", "leaves in mid-span"))
    sent = json.dumps(body).encode()
    with rawhttp.connection(traced.port) as opened:
        opened.sendall(rawhttp.head("POST", "/v1/messages", headers, len(sent)) + sent)
        while b"text_delta" not in opened.recv(65536):
            pass
    span = span_of(taken, str(UUID(str(traced.exchange_of("leaves in mid-span")["id"]))))
    assert attributes(span)["nexus.outcome"] == "cancelled"
    assert "error.type" not in attributes(span)
    assert span.status.code == span.status.STATUS_CODE_UNSET


@pytest.mark.once
def test_a_stream_that_dies_is_a_span_with_an_error(traced: Served, taken: Collector) -> None:
    span = span_of(taken, ask(traced, "Hello", ("x-standin", "die_at=3"), stream=True))
    assert (attributes(span)["nexus.outcome"], attributes(span)["error.type"]) == ("broken", "api_error")
    assert span.status.code == span.status.STATUS_CODE_ERROR


@pytest.mark.once
def test_each_exchange_is_one_span_however_it_ends(traced: Served, taken: Collector) -> None:
    endings = ["", "status=529", "status=400", "die_at=2", "error_at=2", "retry_after=0; status=429; times=1"]
    asked = [
        ask(traced, f"{ending} {number}", ("x-standin", ending), stream=bool(number % 2))
        for ending in endings
        for number in range(4)
    ]
    asked += [ask(traced, "Hello", key="nxs_live_wrong") for _ in range(3)]
    for request_id in asked:
        span_of(taken, request_id)
    told = Counter(attributes(span)["nexus.request_id"] for span in taken.spans)
    assert set(asked) <= told.keys()
    assert set(told.values()) == {1}
    spans = Counter(span.span_id for span in taken.spans)
    assert set(spans.values()) == {1}


@pytest.mark.once
def test_a_collector_that_is_away_costs_spans_and_nothing_else(standin: Standin, tmp_path: Path) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}/fake-token-in-a-path"
    variables: dict[str, Any] = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with serve(tmp_path, standin.url, **variables) as served:
        request_id = ask(served, "Hello", ("traceparent", PARENT))
        assert standin.recorder.last.header("traceparent") is None  # not sent on unless the operator wants that
        assert served.exchange(request_id)["status"] == 200
        log = tmp_path / "serve.log"
        eventually(lambda: "the collector of traces cannot be reached: spans are dropped" in log.read_text())
        ask(served, "Hello")
        started = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - started < STOPS_SECONDS
        assert "fake-token-in-a-path" not in log.read_text()


@pytest.mark.once
def test_a_collector_that_says_nothing_does_not_hold_up_a_stop(standin: Standin, tmp_path: Path) -> None:
    with collector() as silent:
        silent.is_silent.set()
        variables: dict[str, Any] = {"OTEL_EXPORTER_OTLP_ENDPOINT": silent.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with serve(tmp_path, standin.url, **variables) as served:
            ask(served, "Hello")
            eventually(lambda: silent.headers)
            last = ask(served, "Hello")
            started = time.monotonic()
            assert served.stop() == 0
            assert time.monotonic() - started < STOPS_SECONDS
            assert served.exchange(last)["status"] == 200


@pytest.mark.once
def test_a_stop_sends_what_waits(standin: Standin, tmp_path: Path) -> None:
    with collector() as taken:
        variables: dict[str, Any] = {"OTEL_EXPORTER_OTLP_ENDPOINT": taken.url, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
        with serve(tmp_path, standin.url, **variables) as served:
            asked = [ask(served, "Hello") for _ in range(5)]
            assert served.stop() == 0
        assert [attributes(span)["nexus.request_id"] for span in taken.spans] == asked


@pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="several workers need PostgreSQL and Redis")
def test_each_worker_exports_its_own(standin: Standin, taken: Collector, tmp_path: Path) -> None:
    variables: dict[str, Any] = {"OTEL_EXPORTER_OTLP_ENDPOINT": taken.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with serve(tmp_path, standin.url, workers=2, **variables) as served:
        for request_id in [ask(served, "Hello") for _ in range(20)]:
            span_of(taken, request_id)


WITHOUT = """
import sys
class Nobody:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Nobody())
sys.argv = ["nexus", "serve", "--port", "0"]
from nexus.cli import main
main()
"""


@pytest.mark.once
def test_without_its_packages_the_start_ends_in_a_sentence(tmp_path: Path, nexus: Served) -> None:
    environment = {**nexus.environment, "NEXUS_DATA": str(tmp_path), "DATABASE_URL": ""}
    environment |= {"REDIS_URL": "", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    command = [sys.executable, "-c", WITHOUT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "install nexus-gateway[otel]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.once
def test_without_a_collector_its_packages_are_not_loaded(nexus: Served) -> None:
    """Redis's client loads a part of OpenTelemetry by itself, where it is installed."""
    code = "import nexus.asgi, sys; print(any(name.startswith('opentelemetry.exporter') for name in sys.modules))"
    assert nexus.run(code) == "False"
    assert httpx.get(nexus.url, trust_env=False).status_code == 200
