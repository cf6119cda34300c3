"""The official TypeScript SDK, pointed at Nexus by its base URL and key alone."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.standin import Standin
from tests.e2e import clients
from tests.e2e.wiretap import wiretap
from tests.served import FAKE_UPSTREAM_KEY, Served

pytestmark = [pytest.mark.e2e, pytest.mark.once, clients.missing]

SCRIPT = Path(__file__).with_name("typescript.mjs")
Run = Callable[..., Any]


@pytest.fixture
def run(nexus: Served, tmp_path: Path) -> Run:
    """What a scenario of the script saw."""

    def run_scenario(name: str, **variables: str) -> Any:
        settings = {"ANTHROPIC_BASE_URL": nexus.url, "ANTHROPIC_API_KEY": nexus.key, **variables}
        done = subprocess.run(
            [str(clients.NODE), str(SCRIPT), name],
            env=clients.environment(tmp_path, **settings),
            capture_output=True,
            text=True,
            timeout=clients.TIMEOUT_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run_scenario


def text_of(message: Any) -> str:
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")


def test_a_plain_message(run: Run, nexus: Served, standin: Standin) -> None:
    saw = run("plain")
    assert saw["data"] == json.loads(standin.recorder.last.sent)
    row = nexus.exchange(saw["id"])
    usage = saw["data"]["usage"]
    assert (row["input_tokens"], row["output_tokens"]) == (usage["input_tokens"], usage["output_tokens"])
    assert (row["outcome"], row["message_id"]) == ("completed", saw["data"]["id"])


def test_what_it_sends_arrives_as_it_was_sent(run: Run, nexus: Served, standin: Standin) -> None:
    with wiretap(nexus.port) as tap:
        run("stream", ANTHROPIC_BASE_URL=tap.url)
        (sent,) = tap.requests()
    clients.assert_it_arrived_as_it_was_sent(sent, standin.recorder.last, FAKE_UPSTREAM_KEY)


def test_a_stream(run: Run, nexus: Served) -> None:
    saw = run("stream")
    assert len(saw["pieces"]) > 1
    assert "".join(saw["pieces"]) == text_of(saw["data"])
    row = nexus.exchange(saw["id"])
    usage = saw["data"]["usage"]
    assert (row["input_tokens"], row["output_tokens"]) == (usage["input_tokens"], usage["output_tokens"])
    assert (bool(row["is_stream"]), row["usage_source"], row["stop_reason"]) == (True, "final", "end_turn")


def test_a_bearer_key(run: Run, nexus: Served) -> None:
    saw = run("plain", ANTHROPIC_API_KEY="", ANTHROPIC_AUTH_TOKEN=nexus.key)
    assert saw["data"]["role"] == "assistant"


def test_tool_use(run: Run, nexus: Served) -> None:
    saw = run("tool")
    assert saw["data"]["stop_reason"] == "tool_use"
    assert set(saw["call"]["input"]) == {"city"}
    assert saw["answer"]["stop_reason"] == "end_turn"
    assert nexus.exchange(saw["id"])["tool_calls"] == 1


def test_thinking_comes_back_signed(run: Run) -> None:
    thinking = run("thinking")["data"]["content"][0]
    assert thinking["type"] == "thinking"
    assert thinking["thinking"]
    assert thinking["signature"]


def test_count_tokens_is_free(run: Run, nexus: Served) -> None:
    saw = run("count")
    assert saw["data"]["input_tokens"] > 0
    row = nexus.exchange(saw["id"])
    assert (row["kind"], row["usage_source"], row["input_tokens"]) == ("count_tokens", "none", 0)


def test_models_page_by_page(run: Run) -> None:
    saw = run("models")
    assert len(saw["ids"]) > 2
    assert saw["one"]["id"] == saw["ids"][0]


def test_a_file_goes_up_and_comes_back(run: Run) -> None:
    saw = run("file")
    assert saw["size"] == 3_000_000
    assert saw["received"] == saw["sent"]


def test_the_sdk_retries_an_overloaded_api_through_us(run: Run, standin: Standin) -> None:
    seen = standin.recorder.stats()["requests"]
    prompt = "[[standin status=529 times=1 key=typescript-sdk retry_after=0.01]]"
    assert run("plain", MAX_RETRIES="2", PROMPT=prompt)["data"]["role"] == "assistant"
    assert standin.recorder.stats()["requests"] == seen + 2
    assert standin.recorder.last.header("x-stainless-retry-count") == "1"


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, "BadRequestError"), (404, "NotFoundError"), (429, "RateLimitError"), (500, "InternalServerError")],
)
def test_an_error_is_the_apis_own(run: Run, nexus: Served, standin: Standin, status: int, error: str) -> None:
    saw = run("plain", PROMPT=f"[[standin status={status}]]")
    sent = standin.recorder.last
    assert (saw["error"], saw["status"]) == (error, status)
    assert saw["body"] == json.loads(sent.sent)
    assert saw["request_id"] == dict(sent.sent_headers)["request-id"]
    assert nexus.exchange(saw["id"])["upstream_request_id"] == saw["request_id"]


def test_an_error_of_ours_reads_like_the_apis(run: Run) -> None:
    saw = run("plain", ANTHROPIC_API_KEY="nxs_live_wrong")
    assert (saw["error"], saw["status"]) == ("AuthenticationError", 401)
    assert saw["body"]["error"]["type"] == "authentication_error"
    assert "not known" in saw["body"]["error"]["message"]
    assert saw["request_id"] == saw["id"]


@pytest.mark.parametrize(
    ("trouble", "kind", "outcome"),
    [("error_at=3", "overloaded_error", "api_error"), ("die_at=3", "api_error", "broken")],
)
def test_trouble_in_mid_stream_is_an_error_to_the_sdk(
    run: Run, nexus: Served, trouble: str, kind: str, outcome: str
) -> None:
    saw = run("stream", PROMPT=f"[[standin {trouble}]]")
    assert saw["body"]["error"]["type"] == kind
    assert nexus.exchange(saw["id"])["outcome"] == outcome


def test_a_cancelled_stream(run: Run, nexus: Served) -> None:
    saw = run("cancel", PROMPT="[[standin silent_at=3]]")
    assert saw["aborted"]
    row = nexus.exchange(saw["id"])
    assert (row["outcome"], row["usage_source"]) == ("cancelled", "estimated")
