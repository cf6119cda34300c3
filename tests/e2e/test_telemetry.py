"""What the telemetry endpoint hears of a served Nexus and its worker."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.served import FAKE_UPSTREAM_KEY, Served, eventually, running, serve
from tests.telemetry.exports.endpoint import Endpoint, endpoint

pytestmark = [pytest.mark.e2e, pytest.mark.once]

CANARY = "Bluebird-canary-0123456789"
ARRIVES_SECONDS = 40
"""A worker starts, and the task runs every five seconds."""


@contextlib.contextmanager
def telling(standin: Standin, data: Path, heard: Endpoint, **variables: Any) -> Iterator[Served]:
    """On a cluster worker and beat are processes of their own."""
    with serve(data, standin.url, TELEMETRY_ENDPOINT=heard.url, **variables) as served, contextlib.ExitStack() as stack:
        for role in ("worker", "beat") if os.environ.get("REDIS_URL") else ():
            stack.enter_context(running(served, role))
        yield served


def ask(served: Served, script: str = "", key: str = "") -> str:
    """The id of the request."""
    body = {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": CANARY}]}
    headers = [("x-api-key", key or served.key), ("anthropic-version", "2023-06-01"), ("x-standin", script)]
    answer = rawhttp.request(served.port, "POST", f"/v1/messages?q={CANARY}", headers, json.dumps(body).encode())
    return answer.header("x-nexus-request-id")


def facts_of(heard: Endpoint) -> dict[str, dict[str, Any]]:
    return {fact["requestId"]: fact for body in heard.bodies for fact in (body if isinstance(body, list) else [body])}


def test_each_exchange_is_told_of_once_also_after_trouble_and_nothing_that_was_said(
    standin: Standin, tmp_path: Path
) -> None:
    with endpoint() as heard, telling(standin, tmp_path, heard) as served:
        heard.answers = [(500, {}), (429, {"retry-after": "1"})]
        asked = [ask(served) for _ in range(8)]
        failed, refused = ask(served, "status=529"), ask(served, key="nxs_live_fake-key-of-nobody-0123456789")
        eventually(lambda: facts_of(heard).keys() >= {*asked, failed, refused}, ARRIVES_SECONDS)
        assert sorted(heard.request_ids) == sorted([*asked, failed, refused])

        row, fact = served.exchange(asked[0]), facts_of(heard)[asked[0]]
        assert (fact["domain"], fact["apiKey"]) == ("localhost", f"nxs_live_…{served.key[-4:]}")
        assert (fact["inputTokens"], fact["outputTokens"]) == (row["input_tokens"], row["output_tokens"])
        assert (fact["model"], fact["status"], fact["outcome"]) == (row["answered_model"], 200, "completed")
        assert "error" not in fact
        assert facts_of(heard)[failed]["error"] == "overloaded_error"
        unknown = facts_of(heard)[refused]
        assert (unknown["domain"], unknown["apiKey"], unknown["status"]) == ("unknown", "unknown", 401)

        assert not served.rows("telemetry_export")
        for secret in (CANARY, served.key, FAKE_UPSTREAM_KEY, "fake-key-of-nobody"):
            assert secret.encode() not in heard.raw
        logs = "".join(log.read_text() for log in tmp_path.glob("*.log"))
        assert logs.count("the telemetry endpoint answers 500: what it should hear waits") == 1
        assert "fake-token" not in logs


def test_a_batch_size_of_one_is_what_the_original_sent(standin: Standin, tmp_path: Path) -> None:
    with endpoint() as heard, telling(standin, tmp_path, heard, TELEMETRY_BATCH_SIZE="1") as served:
        asked = [ask(served) for _ in range(3)]
        eventually(lambda: len(heard.bodies) == 3, ARRIVES_SECONDS)
        assert sorted(body["requestId"] for body in heard.bodies) == sorted(asked)


def test_an_endpoint_that_says_nothing_delays_no_answer(standin: Standin, tmp_path: Path) -> None:
    with endpoint() as heard, telling(standin, tmp_path, heard) as served:
        heard.answers_after_seconds = 60
        ask(served)
        eventually(lambda: heard.asked, ARRIVES_SECONDS)  # it hangs now
        began = time.monotonic()
        asked = ask(served)
        assert time.monotonic() - began < 2
        assert served.exchange(asked)["status"] == 200
        assert served.rows("telemetry_export")
        heard.answers_after_seconds = 0


def test_off_is_off(standin: Standin, tmp_path: Path) -> None:
    with endpoint() as heard, telling(standin, tmp_path, heard, TELEMETRY_ENABLED="false") as served:
        served.exchange(ask(served))
        assert not served.rows("telemetry_export")
    assert not heard.asked
