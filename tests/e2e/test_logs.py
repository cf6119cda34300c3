"""What a served Nexus writes: every line is JSON with the fixed keys, says whose request it is about, and holds nothing
that should stay inside; and nobody waits for whoever reads it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.fernet import Fernet

from bench.standin import Standin
from tests import rawhttp
from tests.served import Served, eventually, serve

pytestmark = pytest.mark.e2e

FIRST_KEYS = ["timestamp", "level", "logger", "event", "request_id"]
FERNET = Fernet(Fernet.generate_key())
CANARY = "canary"
"""No line may hold it: it is within every secret, and within everything that was sent and answered."""
SECRETS = {
    "client key": f"nxs_live_{CANARY}000000000000000000000000000000000000",
    "api key": f"sk-ant-api03-{CANARY}0000-faulty",
    "bearer": f"Bearer {CANARY}0000000000",
    "webhook": f"https://hooks.slack.com/services/T000/B000/{CANARY}",
    "address": f"redis://user:{CANARY}-p@ss@127.0.0.1:1/0",
    "header": repr([(b"x-api-key", f"{CANARY}-of-another-kind".encode())]),
    "field": json.dumps({"password": f"{CANARY}-password"}),
}
ROW = f"violates a constraint\nDETAIL:  Failing row contains (1, {CANARY},\n{CANARY})."
ENCRYPTED = FERNET.encrypt(b"a credential").decode()
FAKE_DASHBOARD_KEY = "fake-dashboard-key-0001"
KNOWN = {"DASHBOARD_API_KEY": "a-dashboard-key-of-no-known-shape-1"}


def lines_of(log: Path) -> list[dict[str, Any]]:
    """Every line after the welcome, each of them read as JSON."""
    text = log.read_text()
    said = text.partition("claude -p Hello\n")[2] if text.startswith("Nexus serves") else text
    return [json.loads(line) for line in said.split("\n")[:-1]]


def body_of(text: str, **more: Any) -> bytes:
    message = {"role": "user", "content": text}
    return json.dumps({"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [message]} | more).encode()


def send(served: Served, body: bytes, *headers: tuple[str, str], target: str = "/v1/messages") -> rawhttp.Answer:
    own = [("x-nexus-key", served.key), ("anthropic-version", "2023-06-01"), *headers]
    return rawhttp.request(served.port, "POST", target, own, body)


def line_about(log: Path, request_id: str, event: str = "exchange") -> dict[str, Any]:
    (line,) = eventually(
        lambda: [each for each in lines_of(log) if (each["request_id"], each["event"]) == (request_id, event)]
    )
    return line


def assert_keys(lines: list[dict[str, Any]]) -> None:
    assert lines
    for line in lines:
        assert list(line)[:5] == FIRST_KEYS
        assert line["timestamp"].endswith("Z")
        assert line["level"] in ("debug", "info", "warning", "error", "critical")


@pytest.mark.once
def test_an_exchange_is_one_line_that_its_answer_and_its_row_lead_to(nexus: Served) -> None:
    log = nexus.data / "serve.log"
    answer = send(nexus, body_of("Hello"))
    line = line_about(log, answer.header("x-nexus-request-id"))
    row = nexus.exchange(line["request_id"])
    assert (line["level"], line["domain"], line["client_key"]) == ("info", "localhost", "first key")
    assert (line["status"], line["outcome"], line["path"]) == (200, "completed", "/v1/messages")
    assert line["upstream_request_id"] == answer.header("request-id")
    for name in ("output_tokens", "duration_ms", "usage_source", "attempts", "request_bytes", "response_bytes"):
        assert line[name] == row[name]
    assert float(line["cost_usd"]) == float(row["cost"]) > 0
    assert not {"error_message", "query", "user_agent", "request_preview", "client_address"} & set(line)
    assert_keys(lines_of(log))


@pytest.mark.once
@pytest.mark.parametrize(
    ("said", "status", "level"),
    [
        ("[[standin status=529]]", 529, "warning"),
        ("[[standin status=400]]", 400, "info"),
        ("[[standin die_at=-1]]", 502, "warning"),
    ],
)
def test_trouble_is_louder(nexus: Served, said: str, status: int, level: str) -> None:
    answer = send(nexus, body_of(said))
    assert answer.status == status
    assert line_about(nexus.data / "serve.log", answer.header("x-nexus-request-id"))["level"] == level


@pytest.fixture(scope="module")
def trusting(standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    variables: dict[str, Any] = {
        "TRUSTED_PEERS": "10.0.0.0/8,127.0.0.0/8",
        "FORWARD_REQUEST_ID": "true",
        "DASHBOARD_API_KEY": FAKE_DASHBOARD_KEY,
    }
    with serve(tmp_path_factory.mktemp("trusting"), standin.url, **variables) as served:
        yield served


@pytest.mark.once
@pytest.mark.parametrize("theirs", ["lb-7:abc.DEF_1", "3f1c8f0e-58a8-4c55-9c0f-0b7a7bd0c001"])
def test_an_exchange_is_found_by_what_a_trusted_peer_calls_it(trusting: Served, theirs: str) -> None:
    answer = send(trusting, body_of("Hello"), ("x-nexus-request-id", theirs))
    ours = answer.header("x-nexus-request-id")
    assert UUID(ours).version == 7
    assert line_about(trusting.data / "serve.log", ours)["correlation_id"] == theirs
    assert trusting.exchange(ours)["correlation_id"] == theirs
    headers = [("x-dashboard-key", FAKE_DASHBOARD_KEY)]
    found = rawhttp.request(trusting.port, "GET", f"/api/requests/{theirs}", headers)
    assert found.status == 200
    assert json.loads(found.body)["request"]["id"] == ours


@pytest.mark.once
@pytest.mark.parametrize("theirs", ["", "two words", "x" * 101, "new\tline", 'a"b', "é"])
def test_an_odd_id_of_a_peer_is_not_taken(trusting: Served, theirs: str) -> None:
    answer = send(trusting, body_of("Hello"), ("x-nexus-request-id", theirs))
    assert line_about(trusting.data / "serve.log", answer.header("x-nexus-request-id"))["correlation_id"] == ""


@pytest.mark.once
def test_the_word_of_anybody_else_does_not_count(nexus: Served) -> None:
    answer = send(nexus, body_of("Hello"), ("x-nexus-request-id", "lb-1"))
    assert line_about(nexus.data / "serve.log", answer.header("x-nexus-request-id"))["correlation_id"] == ""


@pytest.mark.once
def test_the_api_hears_our_id_only_where_the_operator_wants_it(
    nexus: Served, trusting: Served, standin: Standin
) -> None:
    answer = send(trusting, body_of("Hello"), ("x-nexus-request-id", "theirs"))
    assert dict(standin.recorder.last.headers)["x-nexus-request-id"] == answer.header("x-nexus-request-id")
    send(nexus, body_of("Hello"), ("x-nexus-request-id", "theirs"))
    assert "x-nexus-request-id" not in dict(standin.recorder.last.headers)


@pytest.mark.once
def test_a_console_request_is_one_line(trusting: Served) -> None:
    answer = rawhttp.request(trusting.port, "GET", "/admin/?said=aside", [("x-nexus-request-id", "lb-2")])
    line = line_about(trusting.data / "serve.log", answer.header("x-nexus-request-id"), "request")
    assert (line["method"], line["path"], line["status"], line["correlation_id"]) == ("GET", "/admin/", 302, "lb-2")
    assert line["level"] == "info"
    assert "aside" not in (trusting.data / "serve.log").read_text()


@pytest.mark.once
def test_at_warning_what_went_well_is_not_said(standin: Standin, tmp_path: Path) -> None:
    with serve(tmp_path, standin.url, LOG_LEVEL="warning") as served:
        send(served, body_of("Hello"))
        bad = send(served, body_of("[[standin status=500]]"))
        line_about(tmp_path / "serve.log", bad.header("x-nexus-request-id"))
        served.stop()
    assert [line["level"] for line in lines_of(tmp_path / "serve.log")] == ["warning"]


@pytest.mark.once
def test_a_reader_who_does_not_read_holds_up_nobody(standin: Standin, tmp_path: Path) -> None:
    """Its standard error is a full pipe from the beginning."""
    with serve(tmp_path, standin.url) as first:
        first.stop()
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b" " * 4096)
        os.set_blocking(writer, True)
        command = [sys.executable, "-m", "nexus", "serve", "--port", str(first.port)]
        with subprocess.Popen(command, env=first.environment, stdout=subprocess.DEVNULL, stderr=writer) as process:
            os.close(writer)
            try:
                eventually(lambda: answers(first), seconds=30)
                answered = [send(first, body_of("[[standin status=500]]")) for _ in range(200)]
                assert {answer.status for answer in answered} == {500}
                first.exchange(answered[-1].header("x-nexus-request-id"))
                process.send_signal(signal.SIGTERM)
                assert process.wait(15) == 0
            finally:
                process.kill()
                os.close(reader)


def answers(served: Served) -> bool:
    with contextlib.suppress(OSError):
        return rawhttp.request(served.port, "GET", "/health/live", []).status < 500
    return False


def planted_variables(level: str, *, debug: bool) -> dict[str, Any]:
    return {
        "DJANGO_SETTINGS_MODULE": "tests.e2e.planted_settings",
        "PLANTED": " ".join([*SECRETS.values(), ENCRYPTED, *KNOWN.values(), ROW]),
        "LOG_LEVEL": level,
        "LOG_JSON": "true",
        "DEBUG": str(debug).lower(),
        "TRUSTED_PEERS": "127.0.0.0/8",
        **KNOWN,
    }


@pytest.mark.parametrize("debug", [False, True])
def test_nothing_that_should_stay_inside_is_in_any_line(standin: Standin, tmp_path: Path, debug: bool) -> None:
    with serve(tmp_path, standin.url) as first:
        first.stop()  # the welcome said the client key, once
    log = tmp_path / "serve.log"
    variables = planted_variables("debug", debug=debug)
    with (
        serve(tmp_path, standin.url, database_url=first.database_url, **variables) as served,
        workers(served) as others,
    ):
        served.key = first.key
        served.run("Domain.objects.update(allow_passthrough=True)")
        events = meet_everything(served)
        eventually(lambda: events <= {(each["event"], each["level"]) for each in lines_of(log) + lines_of(others)})
        eventually(lambda: "the task failed over" in log.read_text() + others.read_text())
        served.stop()
    written = log.read_text() + others.read_text()
    assert_keys(lines_of(log) + lines_of(others))
    assert "the page failed over" in written
    for secret in (CANARY, first.key, ENCRYPTED, *KNOWN.values(), *own_secrets(served)):
        assert secret not in written, written[written.index(secret) - 300 : written.index(secret) + 60]


def own_secrets(served: Served) -> list[str]:
    return [served.environment[name] for name in ("NEXUS_SECRET_KEY", "NEXUS_ENCRYPTION_KEYS", "CLAUDE_API_KEY")]


def meet_everything(served: Served) -> set[tuple[str, str]]:
    """Success, refusals, an internal fault, a broken upstream, a page and a task that fail; every field a canary."""
    agent = ("user-agent", CANARY)
    query = f"/v1/messages?beta={CANARY}&key={SECRETS['api key']}"
    assert send(served, body_of(CANARY, system=CANARY), agent, target=query).status == 200
    assert send(served, body_of(CANARY, model=SECRETS["api key"]), agent).status == 404
    assert send(served, body_of(f"{CANARY} [[standin die_at=-1]]"), agent).status == 502
    assert not send(served, body_of(f"{CANARY} [[standin die_at=3]]", stream=True), agent).body.endswith(b"}")
    assert send(served, body_of(f"{CANARY} [[standin status=500]]"), agent).status == 500
    assert send(served, f'{{"model": "{CANARY}'.encode(), agent).status == 400
    assert send(served, body_of(CANARY), agent, ("x-api-key", SECRETS["api key"])).status == 500
    refused = [("x-api-key", SECRETS["client key"]), ("cookie", CANARY)]
    assert rawhttp.request(served.port, "POST", "/v1/messages", refused, body_of(CANARY)).status == 401
    assert (
        rawhttp.request(served.port, "GET", f"/page/?said={CANARY}", [agent, ("cookie", f"a={CANARY}")]).status == 500
    )
    form = f"username={CANARY}&password={CANARY}".encode()
    typed = ("content-type", "application/x-www-form-urlencoded")
    assert rawhttp.request(served.port, "POST", "/admin/login/", [agent, typed], form).status == 403
    assert rawhttp.request(served.port, "GET", f"/%ff/?{CANARY}", [agent]).status in (404, 400)
    with rawhttp.connection(served.port) as opened:
        opened.sendall(f"GET /\x01{CANARY} HTTP/9\r\n\r\n".encode())
        opened.recv(1000)
    return {
        ("exchange", "info"),
        ("exchange", "warning"),
        ("exchange", "error"),
        ("request", "info"),
        ("task", "error"),
    }


@contextlib.contextmanager
def workers(served: Served) -> Iterator[Path]:
    """On a cluster a worker and beat of their own; what they write, all of it."""
    log = served.data / "others.log"
    log.touch()
    if not served.environment.get("REDIS_URL"):
        yield log
        return
    with log.open("a") as output, contextlib.ExitStack() as stack:
        for command in ("worker", "beat"):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "nexus", command],
                    env=served.environment,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )
            stack.callback(process.terminate)
        yield log


def test_a_failed_task_says_for_whose_request_it_ran(standin: Standin, tmp_path: Path) -> None:
    with serve(tmp_path, standin.url, **planted_variables("info", debug=False)) as served, workers(served) as others:
        answer = rawhttp.request(served.port, "GET", "/page/", [("x-nexus-request-id", "lb-3")])
        ours = answer.header("x-nexus-request-id")
        log = tmp_path / "serve.log"
        (line,) = eventually(
            lambda: [
                each
                for each in lines_of(log) + lines_of(others)
                if (each["event"], each["request_id"]) == ("task", ours)
            ],
            seconds=30,
        )
        assert (line["task"], line["error_type"]) == ("tests.e2e.planted_faults.fail", "ValueError")
        assert (line["level"], line["outcome"], line["correlation_id"]) == ("error", "failure", "lb-3")
        told = [each for each in lines_of(log) + lines_of(others) if each["logger"] == "celery.app.trace"]
        assert [(each["request_id"], each["correlation_id"]) for each in told] == [(ours, "lb-3")]
        assert "ValueError" in told[0]["exception"]
        faults = [each for each in lines_of(log) if each["logger"] == "django.request"]
        assert [(each["request_id"], each["correlation_id"]) for each in faults] == [(ours, "lb-3")]
        assert "RuntimeError" in faults[0]["exception"]


@pytest.mark.once
@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["worker"], ["beat"]])
@pytest.mark.parametrize(
    ("name", "value"),
    [("TRUSTED_PEERS", "10.0.0.1/33"), ("DATABASE_URL", f"postgres://u:{CANARY}-pw@127.0.0.1:1/d?x=%zz")],
)
def test_a_start_that_fails_ends_in_a_line(tmp_path: Path, command: list[str], name: str, value: str) -> None:
    environment = os.environ | {"NEXUS_DATA": str(tmp_path), "REDIS_URL": "", name: value}
    done = subprocess.run(
        [sys.executable, "-m", "nexus", *command], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode in (1, 2)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert_keys(lines)
    assert lines[-1]["level"] == "critical"
    assert CANARY not in done.stderr
