"""The real Claude Code, pointed at Nexus as the README says: by its base URL and its key, and nothing else."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bench.standin import Exchange, Standin
from tests.e2e import clients
from tests.e2e.wiretap import wiretap
from tests.served import FAKE_UPSTREAM_KEY, Served, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.once, clients.missing]

JSON = ("--output-format", "json")
STREAM = ("--output-format", "stream-json", "--verbose", "--include-partial-messages")


@dataclass(frozen=True)
class Run:
    session: str
    status: int
    output: str

    @property
    def result(self) -> dict[str, Any]:
        """What `--output-format json` tells, or the last line of a stream of them."""
        told: dict[str, Any] = json.loads(self.output.splitlines()[-1])
        return told


Ask = Callable[..., Run]


@pytest.fixture
def ask(nexus: Served, tmp_path: Path) -> Ask:
    """Runs `claude -p` in an empty folder to its end."""

    def run_to_its_end(prompt: str, *options: str, **variables: str) -> Run:
        session = str(uuid4())
        with _claude(nexus, tmp_path, session, prompt, *options, **variables) as process:
            output, _ = process.communicate(timeout=clients.TIMEOUT_SECONDS)
        return Run(session, process.returncode, output)

    return run_to_its_end


@contextlib.contextmanager
def _claude(
    nexus: Served, home: Path, session: str, prompt: str, *options: str, **variables: str
) -> Iterator["subprocess.Popen[str]"]:
    """Ends with the block, and whatever it may have started with it."""
    settings = {"ANTHROPIC_BASE_URL": nexus.url, "ANTHROPIC_AUTH_TOKEN": nexus.key, "CLAUDE_CODE_MAX_RETRIES": "2"}
    process = subprocess.Popen(
        [str(clients.CLAUDE), "-p", prompt, "--session-id", session, *options],
        env=clients.environment(home, **settings | variables),
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def record(nexus: Served, session: str, count: int) -> list[dict[str, Any]]:
    """The rows of a session, oldest first, once there are so many."""

    def rows() -> list[dict[str, Any]]:
        found = [row for row in nexus.rows("telemetry_exchange") if row["session_id"] == session]
        return sorted(found, key=lambda row: str(row["id"])) if len(found) >= count else []

    found = eventually(rows)
    assert len(found) == count
    return found


def arrived(standin: Standin, session: str) -> list[Exchange]:
    """What the stand-in received of a session, oldest first."""
    return [each for each in standin.recorder.exchanges if each.header("x-claude-code-session-id") == session]


def said(exchange: Exchange) -> str:
    """The text of an answer that was streamed."""
    events = [json.loads(line[6:]) for line in exchange.sent.decode().splitlines() if line.startswith("data: ")]
    return "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")


def test_a_prompt_is_answered(ask: Ask, nexus: Served, standin: Standin) -> None:
    run = ask("Hello")
    assert run.status == 0
    (received,) = arrived(standin, run.session)
    assert run.output.strip() == said(received)
    (row,) = record(nexus, run.session, 1)
    assert (row["outcome"], row["kind"], row["usage_source"]) == ("completed", "inference", "final")
    assert row["model"] == json.loads(received.body)["model"]
    assert row["user_agent"].startswith("claude-cli/")


@pytest.mark.parametrize("variable", ["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"])
def test_what_it_sends_arrives_as_it_was_sent(ask: Ask, nexus: Served, standin: Standin, variable: str) -> None:
    with wiretap(nexus.port) as tap:
        key = {"ANTHROPIC_AUTH_TOKEN": "", variable: nexus.key}
        run = ask("Hello", *JSON, ANTHROPIC_BASE_URL=tap.url, **key)
        (sent,) = [request for request in tap.requests() if request.method == "POST"]
    (received,) = arrived(standin, run.session)
    clients.assert_it_arrived_as_it_was_sent(sent, received, FAKE_UPSTREAM_KEY)
    name, value = ("authorization", f"Bearer {nexus.key}") if "TOKEN" in variable else ("x-api-key", nexus.key)
    assert dict(sent.headers)[name] == value


def test_it_counts_the_tokens_that_the_record_counts(ask: Ask, nexus: Served) -> None:
    run = ask("Hello", *JSON)
    assert (run.result["session_id"], run.result["is_error"]) == (run.session, False)
    (row,) = record(nexus, run.session, 1)
    usage = run.result["usage"]
    assert (row["input_tokens"], row["output_tokens"]) == (usage["input_tokens"], usage["output_tokens"])
    assert row["cache_read_tokens"] == usage["cache_read_input_tokens"]
    written = row["cache_write_5m_tokens"] + row["cache_write_1h_tokens"]
    assert written == usage["cache_creation_input_tokens"]


def test_it_shows_the_answer_piece_by_piece(ask: Ask, standin: Standin) -> None:
    run = ask("Hello", *STREAM)
    lines = [json.loads(line) for line in run.output.splitlines()]
    events = [line["event"] for line in lines if line["type"] == "stream_event"]
    pieces = [event["delta"]["text"] for event in events if event.get("delta", {}).get("type") == "text_delta"]
    (received,) = arrived(standin, run.session)
    assert len(pieces) > 1
    assert "".join(pieces) == run.result["result"] == said(received)


def test_a_tool_is_used_in_two_turns(ask: Ask, nexus: Served, standin: Standin, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("what only this file says\n")
    run = ask("[[standin tool=Read]]", *JSON, "--allowedTools", "Read")
    assert (run.status, run.result["num_turns"], run.result["permission_denials"]) == (0, 2, [])
    _, second = arrived(standin, run.session)
    assert b"what only this file says" in second.body
    rows = record(nexus, run.session, 2)
    assert [(row["stop_reason"], row["tool_calls"]) for row in rows] == [("tool_use", 1), ("end_turn", 0)]


def test_an_agent_of_an_agent_is_known_by_its_id(ask: Ask, nexus: Served, standin: Standin) -> None:
    run = ask("[[standin tool=Agent]]", *JSON, "--allowedTools", "Agent")
    assert (run.status, run.result["permission_denials"]) == (0, [])
    _, agent, _ = (each.header("x-claude-code-agent-id") or "" for each in arrived(standin, run.session))
    assert agent
    assert [row["agent_id"] for row in record(nexus, run.session, 3)] == ["", agent, ""]


def test_it_counts_its_context_through_us(ask: Ask, nexus: Served, standin: Standin) -> None:
    run = ask("/context")
    assert (run.status, "Context Usage" in run.output) == (0, True)
    rows = record(nexus, run.session, len(arrived(standin, run.session)))
    assert {(row["kind"], row["outcome"]) for row in rows} == {("count_tokens", "completed")}


def test_an_overloaded_api_is_tried_again(ask: Ask, nexus: Served, standin: Standin) -> None:
    run = ask("[[standin status=529 times=1 key=claude-code]]", *JSON)
    assert (run.status, run.result["is_error"]) == (0, False)
    assert [each.status for each in arrived(standin, run.session)] == [529, 200]
    rows = record(nexus, run.session, 2)
    assert [row["outcome"] for row in rows] == ["api_error", "completed"]


@pytest.mark.parametrize(("trouble", "outcome"), [("error_at=3", "api_error"), ("die_at=3", "broken")])
def test_trouble_in_mid_stream_is_tried_again(ask: Ask, nexus: Served, trouble: str, outcome: str) -> None:
    run = ask(f"[[standin {trouble} times=1 key=claude-code]]", *JSON)
    assert (run.status, run.result["is_error"]) == (0, False)
    assert [row["outcome"] for row in record(nexus, run.session, 2)] == [outcome, "completed"]


def test_a_stream_that_dies_each_time_is_told(ask: Ask, nexus: Served, standin: Standin) -> None:
    run = ask("[[standin die_at=3]]", CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK="1")
    assert run.status == 1
    assert "API Error" in run.output
    rows = record(nexus, run.session, len(arrived(standin, run.session)))
    assert {row["outcome"] for row in rows} == {"broken"}


def test_a_wrong_key_is_told_in_our_sentence(ask: Ask, standin: Standin) -> None:
    """At once: without our word on retries Claude Code would repeat it for minutes and print nothing."""
    run = ask("Hello", ANTHROPIC_AUTH_TOKEN="nxs_live_wrong", CLAUDE_CODE_MAX_RETRIES="10")
    assert run.status == 1
    assert "401 This client key is not known here." in run.output
    assert not arrived(standin, run.session)


def test_a_claude_that_is_killed_cancels_its_call(nexus: Served, standin: Standin, tmp_path: Path) -> None:
    session = str(uuid4())
    with _claude(nexus, tmp_path, session, "[[standin silent_at=3]]"):
        # It has asked, and the stand-in says no more than the first words.
        eventually(lambda: [each for each in arrived(standin, session) if b"content_block_delta" in each.sent], 30)
    (row,) = record(nexus, session, 1)
    assert (row["outcome"], row["usage_source"]) == ("cancelled", "estimated")
    assert eventually(lambda: arrived(standin, session)[0].disconnected)
