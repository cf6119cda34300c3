"""Waiting for room in a limit, as the official SDKs and plain clients live it."""

import contextlib
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.e2e import clients
from tests.served import Served, eventually, serve

pytestmark = [pytest.mark.e2e, pytest.mark.once_in_cluster]

FAKE_TOKEN = "fake-metrics-token-0001"
COMMENT = b": waiting for room in a limit\n\n"
SCRIPT = Path(__file__).with_name("typescript.mjs")
PREPARE = """
import json
domain = Domain.objects.get()
RateLimit.objects.create(domain=domain, concurrent_requests=1)
secrets = {}
for name, (seconds, weight) in {"hasty": (0, 1), "brief": (1, 1), "patient": (120, 1), "heavy": (120, 3)}.items():
    key, secrets[name] = ClientKey.issue(domain, name)
    key.max_wait_seconds, key.weight = seconds, weight
    key.save()
print(json.dumps(secrets))
"""


class Crowd:
    """Clients of one Nexus that lets in one request at a time."""

    def __init__(self, nexus: Served, standin: Standin, pool: ThreadPoolExecutor) -> None:
        self.nexus = nexus
        self._standin = standin
        self._pool = pool
        self._secrets: dict[str, str] = json.loads(nexus.run(PREPARE))
        eventually(lambda: self._counts().header("x-nexus-ratelimit-concurrent-requests-limit"))

    def _counts(self) -> rawhttp.Answer:
        return rawhttp.request(
            self.nexus.port, "POST", "/v1/messages/count_tokens", self.headers("heavy"), body_of("Hello")
        )

    def secret(self, name: str) -> str:
        return self._secrets[name]

    def headers(self, name: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
        return [("x-api-key", self._secrets[name]), ("anthropic-version", "2023-06-01"), *more]

    def ask(self, name: str, prompt: str, *more: tuple[str, str], stream: bool = False) -> rawhttp.Answer:
        sent = body_of(prompt, stream=stream)
        return rawhttp.request(self.nexus.port, "POST", "/v1/messages", self.headers(name, *more), sent)

    def goes_to_ask(
        self, name: str, prompt: str, *more: tuple[str, str], stream: bool = False
    ) -> "Future[rawhttp.Answer]":
        return self._pool.submit(self.ask, name, prompt, *more, stream=stream)

    def measured(self, start: str) -> float:
        answer = httpx.get(
            f"{self.nexus.url}/metrics", headers={"authorization": f"Bearer {FAKE_TOKEN}"}, timeout=20, trust_env=False
        )
        return sum(float(line.rpartition(" ")[2]) for line in answer.text.splitlines() if line.startswith(start))

    def waiting(self) -> float:
        return self.measured("nexus_limit_waiting{")

    def refused(self) -> float:
        return self.measured('nexus_limit_waits_total{ending="refused"')

    @contextlib.contextmanager
    def waits(self, name: str, prompt: str, *more: tuple[str, str], stream: bool = False) -> Iterator[Any]:
        """Somebody who asks, and waits by the time the block begins."""
        before = self.waiting()
        asked = self.goes_to_ask(name, prompt, *more, stream=stream)
        eventually(lambda: self.waiting() > before)
        yield asked

    @contextlib.contextmanager
    def sends(self, name: str, prompt: str, *more: tuple[str, str], stream: bool = False) -> Iterator[socket.socket]:
        sent = body_of(prompt, stream=stream)
        with rawhttp.connection(self.nexus.port) as opened:
            opened.sendall(rawhttp.head("POST", "/v1/messages", self.headers(name, *more), len(sent)) + sent)
            yield opened

    @contextlib.contextmanager
    def hears_comments(self, name: str, prompt: str, *more: tuple[str, str]) -> Iterator[socket.socket]:
        """Somebody who waits for a stream, and was told so twice."""
        with self.sends(name, prompt, *more, stream=True) as opened:
            eventually(lambda: opened.recv(65536, socket.MSG_PEEK).count(COMMENT) >= 2)
            yield opened

    @contextlib.contextmanager
    def holds(self) -> Iterator[socket.socket]:
        """Somebody has the one place, until this connection closes."""
        prompt = f"[[standin silent_at=-1 key=k{time.monotonic_ns()}]]"
        with self.sends("patient", prompt) as opened:
            self.arrived(prompt)
            yield opened

    def arrived(self, prompt: str) -> Any:
        return self._standin.recorder.wait_for(lambda each: prompt.encode() in each.body, 20)

    def order(self, prompts: list[str]) -> list[str]:
        """In which they came to the API."""
        bodies = [each.body.decode(errors="replace") for each in self._standin.recorder.exchanges]
        return [prompt for body in bodies for prompt in prompts if f'"{prompt}"' in body]


def body_of(prompt: str, *, stream: bool = False) -> bytes:
    asked = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": [{"role": "user", "content": prompt}]}
    return json.dumps({**asked, "stream": stream}).encode()


@contextlib.contextmanager
def crowd_at(standin: Standin, data: Path, keepalive_after: str = "0.3") -> Iterator[Crowd]:
    serving = serve(
        data,
        standin.url,
        METRICS_TOKEN=FAKE_TOKEN,
        LIMIT_QUEUE_KEEPALIVE_AFTER=keepalive_after,
        LIMIT_QUEUE_KEEPALIVE_EVERY="0.2",
    )
    with serving as nexus, ThreadPoolExecutor(40) as pool:
        yield Crowd(nexus, standin, pool)


@pytest.fixture(scope="module")
def crowd(standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    with crowd_at(standin, tmp_path_factory.mktemp("waiting")) as made:
        yield made


def sdk(crowd: Crowd, name: str, max_retries: int = 0) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=crowd.nexus.url, api_key=crowd.secret(name), max_retries=max_retries)


def row_of(crowd: Crowd, answer: rawhttp.Answer) -> dict[str, Any]:
    return crowd.nexus.exchange(answer.header("x-nexus-request-id"))


def assert_it_runs(held: socket.socket) -> None:
    held.setblocking(False)
    with pytest.raises(BlockingIOError):
        held.recv(1)


def test_the_second_waits_until_the_first_has_ended(crowd: Crowd) -> None:
    with crowd.holds() as held, crowd.waits("patient", "second") as second:
        time.sleep(1)  # it has waited for so long at least
        held.close()
        assert second.result().status == 200
    row = row_of(crowd, second.result())
    assert row["waited_ms"] > 900
    assert row["overhead_us"] < row["waited_ms"] * 1000 / 2
    assert row["duration_ms"] >= row["waited_ms"]
    assert second.result().header("x-nexus-ratelimit-concurrent-requests-limit") == "1"


def test_who_need_not_wait_has_not(crowd: Crowd) -> None:
    answer = crowd.ask("patient", "no wait", stream=True)
    assert answer.header("request-id")
    assert COMMENT not in answer.body
    assert row_of(crowd, answer)["waited_ms"] == 0


def test_who_may_not_wait_is_refused_at_once(crowd: Crowd) -> None:
    with crowd.holds():
        answer = crowd.ask("hasty", "now or never")
    assert (answer.status, answer.header("retry-after")) == (429, "1")
    assert row_of(crowd, answer)["waited_ms"] == 0


def test_a_stream_that_waits_is_kept_alive_and_comes_whole(crowd: Crowd) -> None:
    with crowd.holds() as held, crowd.hears_comments("patient", "a stream") as opened:
        held.close()
        answer = rawhttp.read_answer(opened)
    assert (answer.status, answer.is_complete) == (200, True)
    assert answer.header("content-type") == "text/event-stream; charset=utf-8"
    assert answer.body.startswith(COMMENT * 2)
    assert answer.body.replace(COMMENT, b"") == bytes(crowd.arrived('"a stream"').sent)
    row = row_of(crowd, answer)
    assert (row["status"], row["outcome"], row["usage_source"]) == (200, "completed", "final")
    assert row["waited_ms"] >= 500


def test_the_python_sdk_reads_a_stream_that_waited(crowd: Crowd) -> None:
    with (
        crowd.holds() as held,
        sdk(crowd, "patient") as client,
        client.messages.stream(
            model="claude-haiku-4-5", max_tokens=50, messages=[{"role": "user", "content": "of the SDK"}]
        ) as stream,
    ):
        held.close()  # the head was there by the first comment
        events = [event.type for event in stream]
        message = stream.get_final_message()
    assert (events[0], events[-1]) == ("message_start", "message_stop")
    assert message.content
    assert message.stop_reason == "max_tokens"
    assert crowd.nexus.exchange(stream.response.headers["x-nexus-request-id"])["waited_ms"] >= 300


def test_the_python_sdk_hears_of_a_refusal_after_comments(crowd: Crowd) -> None:
    with (
        crowd.holds(),
        sdk(crowd, "brief") as client,
        pytest.raises(anthropic.APIStatusError) as refused,
        client.messages.stream(
            model="claude-haiku-4-5", max_tokens=50, messages=[{"role": "user", "content": "too long"}]
        ) as stream,
    ):
        stream.get_final_text()
    told: Any = refused.value.body
    assert told["type"] == "error"
    assert told["error"]["type"] == "rate_limit_error"
    assert "This request has waited for" in told["error"]["message"]
    row = crowd.nexus.exchange(told["request_id"])
    assert (row["status"], row["outcome"], row["attempts"]) == (429, "refused", 0)
    assert row["refused_by"] == "domain concurrent requests"
    assert row["waited_ms"] >= 990


def test_the_python_sdk_comes_again_after_a_refusal_before_any_comment(crowd: Crowd) -> None:
    with crowd.holds() as held, sdk(crowd, "brief", max_retries=10) as client, ThreadPoolExecutor(1) as pool:
        before = crowd.refused()
        asked = pool.submit(
            lambda: client.messages.create(
                model="claude-haiku-4-5", max_tokens=50, messages=[{"role": "user", "content": "again"}]
            )
        )
        eventually(lambda: crowd.refused() > before)
        held.close()
        assert asked.result().content


@clients.missing
@pytest.mark.parametrize("name", ["patient", "brief"])
def test_the_typescript_sdk_reads_both(crowd: Crowd, tmp_path: Path, name: str) -> None:
    settings = {"ANTHROPIC_BASE_URL": crowd.nexus.url, "ANTHROPIC_API_KEY": crowd.secret(name)}
    command = [str(clients.NODE), str(SCRIPT), "stream"]
    with (
        crowd.holds() as held,
        subprocess.Popen(
            command, env=clients.environment(tmp_path, **settings), stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        if name == "patient":
            eventually(lambda: crowd.waiting() == 1, seconds=30)
            time.sleep(1)  # it has heard comments by then
            held.close()
        said, _ = process.communicate(timeout=clients.TIMEOUT_SECONDS)
    told = json.loads(said)
    if name == "patient":
        assert told["data"]["stop_reason"] == "end_turn"
        assert crowd.nexus.exchange(told["id"])["waited_ms"] > 900
    else:
        assert told["error"].endswith("Error")
        assert "rate_limit_error" in json.dumps(told["body"])
        assert "This request has waited for" in json.dumps(told["body"])


@pytest.mark.parametrize(
    ("trouble", "status", "error", "outcome"),
    [
        ("status=529", 529, "overloaded_error", "api_error"),
        ("status=400", 400, "invalid_request_error", "api_error"),
        ("html=1", 502, "api_error", "api_error"),
        ("die_at=-1", 502, "api_error", "upstream_failed"),
    ],
)
def test_an_error_of_the_api_after_comments_is_an_event(
    crowd: Crowd, trouble: str, status: int, error: str, outcome: str
) -> None:
    with crowd.holds() as held, crowd.hears_comments("patient", f"[[standin {trouble}]]") as opened:
        held.close()
        answer = rawhttp.read_answer(opened)
    assert (answer.status, answer.is_complete) == (200, True)
    comments, _, event = answer.body.partition(b"event: error\ndata: ")
    assert comments.startswith(COMMENT)
    assert json.loads(event)["error"]["type"] == error
    assert event.endswith(b"}\n\n")
    row = row_of(crowd, answer)
    assert (row["status"], row["outcome"]) == (status, outcome)


def test_who_leaves_while_it_waits_holds_up_nobody(crowd: Crowd) -> None:
    with crowd.holds() as held:
        with crowd.sends("heavy", "never", ("user-agent", "leaves early")):
            eventually(lambda: crowd.waiting() == 1)
        eventually(lambda: crowd.waiting() == 0)
        with crowd.waits("patient", "after it") as after:
            held.close()
            assert after.result().status == 200
    row = crowd.nexus.exchange_of("leaves early")
    assert (row["outcome"], row["attempts"], row["status"]) == ("cancelled", 0, None)


def test_a_stream_whose_client_leaves_after_comments_is_no_answer(crowd: Crowd) -> None:
    with crowd.holds():
        with crowd.hears_comments("heavy", "never", ("user-agent", "leaves late")):
            pass
        eventually(lambda: crowd.waiting() == 0)
    row = crowd.nexus.exchange_of("leaves late")
    assert (row["outcome"], row["status"]) == ("cancelled", None)


def test_keys_take_turns_by_their_weights(crowd: Crowd) -> None:
    light, heavy = ([f"{name} {number}" for number in range(8)] for name in ("light", "heavy"))
    with crowd.holds() as held, contextlib.ExitStack() as queue:
        answers = [queue.enter_context(crowd.waits("patient", prompt)) for prompt in light]
        answers += [queue.enter_context(crowd.waits("heavy", prompt)) for prompt in heavy]
        held.close()
        assert {answer.result().status for answer in answers} == {200}
    order = crowd.order([*light, *heavy])
    assert [each for each in order if each in light] == light
    assert [each for each in order if each in heavy] == heavy
    assert sum(each in heavy for each in order[:8]) == 6


def test_background_work_waits_behind_people(crowd: Crowd) -> None:
    with (
        crowd.holds() as held,
        crowd.waits("patient", "by night", ("x-nexus-priority", "background")) as night,
        crowd.waits("patient", "by day") as day,
    ):
        held.close()
        assert {night.result().status, day.result().status} == {200}
    assert crowd.order(["by night", "by day"]) == ["by day", "by night"]
    headers = [name for name, _ in crowd.arrived("by night").headers]
    assert not [name for name in headers if name.startswith("x-nexus")]


REVOKE = """
from django.utils import timezone
ClientKey.objects.filter(name='heavy').update(revoked_at=timezone.now())
Installation.announce_change()
"""
RAISE = "RateLimit.objects.update(concurrent_requests=2); Installation.announce_change()"


def test_what_an_operator_changes_holds_for_those_who_wait(standin: Standin, tmp_path: Path) -> None:
    with crowd_at(standin, tmp_path) as crowd, crowd.holds() as held:
        with crowd.waits("heavy", "revoked meanwhile") as revoked:
            crowd.nexus.run(REVOKE)
        with crowd.waits("patient", "let in meanwhile") as let_in:
            crowd.nexus.run(RAISE)
        assert let_in.result().status == 200
        answer = revoked.result()
        assert answer.status == 401
        assert row_of(crowd, answer)["attempts"] == 0
        assert crowd.ask("patient", "the place of the revoked").status == 200
        assert_it_runs(held)


def test_a_stop_sends_those_who_wait_away_at_once(standin: Standin, tmp_path: Path) -> None:
    with crowd_at(standin, tmp_path) as crowd, crowd.holds() as held:
        with crowd.waits("patient", "plain") as plain, crowd.hears_comments("patient", "a stream") as opened:
            crowd.nexus.process.send_signal(signal.SIGTERM)
            answers = [plain.result(), rawhttp.read_answer(opened)]
        assert_it_runs(held)
        held.close()
        assert [answer.status for answer in answers] == [503, 200]
        assert answers[0].header("x-should-retry") == "true"
        assert "being stopped" in json.loads(answers[0].body)["error"]["message"]
        event = answers[1].body.rpartition(b"event: error\ndata: ")[2]
        assert "being stopped" in json.loads(event)["error"]["message"]
        assert crowd.nexus.stop() == 0
        assert [row_of(crowd, answer)["status"] for answer in answers] == [503, 503]
