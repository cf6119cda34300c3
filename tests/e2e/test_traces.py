"""Spans of a served Nexus, as a collector gets them."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def test_a_client_s_trace_goes_on_and_reaches_the_api(traced: Served, taken: Collector, standin: Standin) -> None:
    request_id = ask(traced, "Hello", ("traceparent", PARENT), ("tracestate", "congo=1"), ("baggage", "user=grace"))
    received = standin.recorder.last
    span = span_of(taken, request_id)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert received.header("traceparent") == f"00-{TRACE}-{span.span_id.hex()}-01"
    assert received.header("tracestate") == "congo=1"
    assert received.header("baggage") is None


def test_a_trace_that_its_client_does_not_sample_is_not_exported(traced: Served, taken: Collector) -> None:
    silent = ask(traced, "Hello", ("traceparent", PARENT[:-2] + "00"))
    after = ask(traced, "Hello")
    span_of(taken, after)  # told in order
    assert silent not in {attributes(span)["nexus.request_id"] for span in taken.spans}


def test_errors_and_refusals_are_spans_with_a_type(traced: Served, taken: Collector) -> None:
    failed = span_of(taken, ask(traced, "Hello", ("x-standin", "status=529")))
    assert failed.status.code == failed.status.STATUS_CODE_ERROR
    assert attributes(failed)["error.type"] == "overloaded_error"
    refused = attributes(span_of(taken, ask(traced, "Hello", key="nxs_live_wrong")))
    assert (refused["nexus.outcome"], refused["error.type"]) == ("refused", "authentication_error")
    assert refused["http.response.status_code"] == 401


def test_what_is_no_message_has_a_name_without_ids(traced: Served, taken: Collector) -> None:
    headers = [("host", "localhost"), ("x-api-key", traced.key)]
    answer = rawhttp.request(traced.port, "GET", "/v1/models/claude-haiku-4-5", headers)
    span = span_of(taken, answer.header("x-nexus-request-id"))
    assert span.name == "GET /v1/models"
    assert "gen_ai.request.model" not in attributes(span)


def test_nothing_that_was_said_reaches_the_collector(traced: Served, taken: Collector) -> None:
    span_of(taken, ask(traced, "Hello", ("user-agent", CANARY), ("x-standin", "status=400")))
    for secret in (CANARY, traced.key, "fake-collector-token"):
        assert secret.encode() not in taken.raw
    assert taken.headers[-1]["authorization"] == "Bearer fake-collector-token"
    assert {resource["service.name"] for resource in taken.resources} == {"nexus"}


def test_a_collector_that_is_away_costs_spans_and_nothing_else(standin: Standin, tmp_path: Path) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    with serve(tmp_path, standin.url, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as served:
        request_id = ask(served, "Hello", ("traceparent", PARENT))
        assert standin.recorder.last.header("traceparent") is None  # not sent on unless the operator wants that
        assert served.exchange(request_id)["status"] == 200
        started = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - started < 8
        assert endpoint not in (tmp_path / "serve.log").read_text().partition("token")[2]


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


def test_without_its_packages_the_start_ends_in_a_sentence(tmp_path: Path, nexus: Served) -> None:
    environment = {**nexus.environment, "NEXUS_DATA": str(tmp_path), "DATABASE_URL": ""}
    environment |= {"REDIS_URL": "", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    command = [sys.executable, "-c", WITHOUT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "install nexus-gateway[otel]" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_collector_its_packages_are_not_loaded(nexus: Served) -> None:
    code = "import nexus.asgi, sys; print(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert nexus.run(code) == "False"
    assert httpx.get(nexus.url, trust_env=False).status_code == 200
