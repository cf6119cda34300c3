"""What reaches Slack, from the wire: a served Nexus with its worker, between the stand-in and a Slack of our own."""

import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.served import FAKE_UPSTREAM_KEY, Served, eventually, serve
from tests.telemetry.notices.slackserver import SLACK_PATH, SlackServer, serve_slack

pytestmark = [pytest.mark.e2e, pytest.mark.once]

SYSTEM = [{"type": "text", "text": "You are a test."}, {"type": "text", "text": "Be brief."}]
TOOL = {"name": "Bash", "description": "Runs a command.", "input_schema": {"type": "object", "properties": {}}}
NO_MESSAGE_SECONDS = 5.0
"""Longer than it takes a message to arrive, by far."""
_numbers = itertools.count()


@contextlib.contextmanager
def worker_and_beat(served: Served) -> Iterator[None]:
    """In a cluster they are processes of their own."""
    if not os.environ.get("REDIS_URL"):
        yield
        return
    processes = []
    for name in ("worker", "beat"):
        command = [sys.executable, "-m", "nexus", name]
        with (served.data / f"{name}.log").open("w") as log:
            processes.append(subprocess.Popen(command, env=served.environment, stdout=log, stderr=log))
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(15)


@dataclass
class Stage:
    served: Served
    slack: SlackServer
    keys: dict[str, str] = field(default_factory=dict)

    def ask(self, text: str, *, host: str = "told.example.com", session: str = "", **changes: Any) -> int:
        """One request as Claude Code makes it; its status."""
        body = {"model": "claude-haiku-4-5", "max_tokens": 64, "system": SYSTEM} | changes
        body["messages"] = [{"role": "user", "content": text}]
        headers = [
            ("host", host),
            ("x-api-key", self.keys[host]),
            ("anthropic-version", "2023-06-01"),
            ("x-claude-code-session-id", session or f"session-{next(_numbers)}"),
        ]
        content = json.dumps(body).encode()
        while True:  # a new key is known within two seconds
            answer = rawhttp.request(self.served.port, "POST", "/v1/messages", headers, content)
            if answer.status != 401:
                return answer.status

    def told(self, look: Callable[[str], bool]) -> list[str]:
        return [words for words in self.slack.words if look(words)]

    def one(self, part: str) -> dict[str, Any]:
        """The message that holds these words, once it has come."""
        found = eventually(
            lambda: [each.message for each in self.slack.taken if part in json.dumps(each.message, ensure_ascii=False)],
            20,
        )
        assert len(found) == 1
        return found[0]


DOMAINS = """
from telemetry.models import SlackSettings
hosts = {
    "told.example.com": {},
    "personal.example.com": {},
    "off.example.com": {},
    "redacted.example.com": {"storage": "redacted", "redaction_patterns": "Blue[a-z]+"},
    "metadata.example.com": {"storage": "metadata"},
}
for host, values in hosts.items():
    domain = Domain.objects.create(host=host, **values)
    if host.startswith("off"):
        SlackSettings.objects.create(domain=domain, is_on=False)
    print(host, ClientKey.issue(domain, "test")[1])
"""


@pytest.fixture(scope="module")
def stage(standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with (
        serve_slack() as slack,
        serve(tmp_path_factory.mktemp("slack"), standin.url, SLACK_WEBHOOK_URL=slack.url, LOG_LEVEL="debug") as served,
        worker_and_beat(served),
    ):
        keys = dict(line.split() for line in served.run(DOMAINS).splitlines())
        time.sleep(5.1)  # the writer reads who listens every five seconds
        yield Stage(served, slack, keys)


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_message_is_told_with_its_figures(stage: Stage, is_stream: bool) -> None:
    said = f"What is <b>{'streamed' if is_stream else 'plain'}</b> & good? @channel"
    assert stage.ask(said, stream=is_stream) == 200
    message = stage.one(f"{'streamed' if is_stream else 'plain'}&lt;/b&gt;")
    assert message["text"].startswith("👤 User: What is &lt;b&gt;")
    assert "\n\n🤖 Claude: " in message["text"]
    assert "@channel" not in message["text"]
    assert message["username"] == "Nexus"
    (attachment,) = message["attachments"]
    last4 = stage.keys["told.example.com"][-4:]
    assert attachment["footer"].startswith(f"told.example.com | claude-haiku-4-5 | ...{last4} | Tokens: ")
    assert "Cost: $" in attachment["footer"]


def test_the_second_turn_shows_the_answer_only(stage: Stage) -> None:
    for _ in range(2):
        stage.ask("Say it twice.", session="twice")
    stage.ask("Say it twice.", session="another user of the same host")
    eventually(lambda: len(stage.told(lambda words: "Say it twice." in words)) == 2, 20)
    own = [each.message["text"] for each in stage.slack.taken if "Say it twice" in each.message.get("text", "")]
    assert all(text.startswith("👤 User: Say it twice.") for text in own)
    answer = own[0].partition("\n\n")[2]
    assert eventually(lambda: stage.slack.words.count(answer) == 1, 20)


def test_an_answer_of_tools_is_their_lines(stage: Stage) -> None:
    stage.ask("[[standin tool=Bash]] use it", tools=[TOOL])
    words = eventually(lambda: stage.told(lambda words: "🔧 Bash" in words), 20)
    assert len(words) == 1


def test_an_error_is_one_message_however_often_it_comes(stage: Stage) -> None:
    for _ in range(5):
        assert stage.ask("[[standin status=403]]") == 403
    message = eventually(
        lambda: [each.message for each in stage.slack.taken if "Request " in str(each.message["attachments"])], 20
    )[0]
    (attachment,) = message["attachments"]
    assert attachment["color"] == "danger"
    fields = {each["title"]: each["value"] for each in attachment["fields"]}
    assert (fields["Domain"], fields["Status"]) == ("told.example.com", "403")
    stage.ask("the end of errors")
    stage.one("the end of errors")
    assert len([each for each in stage.slack.taken if "danger" in str(each.message["attachments"])]) == 1


def test_a_redacted_domain_is_told_without_its_secrets(stage: Stage) -> None:
    stage.ask("Ask grace@example.com of Bluebird, redacted please.", host="redacted.example.com")
    text = stage.one("redacted please")["text"]
    assert "Bluebird" not in text
    assert "grace" not in text


def test_silent_domains_stay_silent(stage: Stage) -> None:
    for host in ("personal.example.com", "off.example.com", "metadata.example.com"):
        assert stage.ask(f"Silence from {host}.", host=host) == 200
    assert stage.ask("[[standin status=500]] silence", host="personal.example.com") == 500
    stage.ask("the end of silence")
    stage.one("the end of silence")  # what came before it has been dealt with
    assert not [each for each in stage.slack.received if b"personal" in each.raw or b"Silence" in each.raw]


def test_other_kinds_are_not_told(stage: Stage) -> None:
    stage.ask("Is this a new topic?", system=SYSTEM[:1])
    stage.ask("quota")
    stage.ask("the end of other kinds")
    stage.one("the end of other kinds")
    assert not stage.told(lambda words: "new topic" in words or "User: quota" in words)


def test_z_each_message_came_once_and_no_secret_is_anywhere(stage: Stage) -> None:
    """Last of all: over what the tests above have sent."""
    served = stage.served
    eventually(lambda: not served.rows("telemetry_candidate"), 20)
    states = eventually(
        lambda: (
            found
            if (found := [row["state"] for row in served.rows("telemetry_delivery")]) and "pending" not in found
            else []
        ),
        20,
    )
    assert set(states) == {"delivered"}
    assert len(stage.slack.received) == len(states)
    rows = str([served.rows(f"telemetry_{table}") for table in ("delivery", "target", "candidate", "lastsaid")])
    logs = "".join(path.read_text() for path in Path(served.data).glob("*.log"))
    for secret in (SLACK_PATH, "fake-canary", FAKE_UPSTREAM_KEY, *stage.keys.values()):
        assert secret not in rows
        assert secret not in logs.replace(served.key, "")
    assert "Say it twice" not in rows
