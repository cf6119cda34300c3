"""How much of a domain's requests is kept, from the wire to the database."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.served import Served, serve

pytestmark = [pytest.mark.e2e, pytest.mark.once]

CANARY = "sk-ant-api03-fake-planted-canary-0123456789abcdef"
SAID = f"my key is {CANARY} and I am grace@example.com, project Bluebird. " + "Tell me more. " * 30
BODY = json.dumps(
    {"model": "claude-haiku-4-5", "max_tokens": 64, "stream": True, "messages": [{"role": "user", "content": SAID}]}
).encode()
LEVELS = ("full", "redacted", "metadata", "none")
PERSONAL = ("session_id", "agent_id", "user_agent", "client_address")


@pytest.fixture(scope="module")
def levelled(standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, str]]]:
    """A domain and a client key for each level."""
    with serve(tmp_path_factory.mktemp("levels"), standin.url) as served:
        keys = {
            level: served.run(
                f"d = Domain.objects.create(host='{level}.example.com', storage='{level}', "
                "redaction_patterns='Blue[a-z]+')\n"
                "print(ClientKey.issue(d, 'test')[1])"
            )
            for level in LEVELS
        }
        yield served, keys


def sent(served: Served, key: str, host: str) -> dict[str, Any]:
    headers = [
        ("host", host),
        ("x-api-key", key),
        ("anthropic-version", "2023-06-01"),
        ("user-agent", "a-curious-client/1"),
        ("x-claude-code-session-id", "0b5c0b3a-0000-4000-8000-000000000000"),
    ]
    while True:  # a new key is known within two seconds
        answer = rawhttp.request(served.port, "POST", "/v1/messages?beta=true&note=Bluebird", headers, BODY)
        if answer.status != 401:
            break
    assert answer.status == 200
    assert CANARY.encode() in answer.body or b"message_stop" in answer.body
    return served.exchange(answer.header("x-nexus-request-id"))


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_keeps_what_it_says(levelled: tuple[Served, dict[str, str]], level: str) -> None:
    served, keys = levelled
    row = sent(served, keys[level], f"{level}.example.com")
    bodies = [body for body in served.rows("telemetry_body") if str(body["domain_id"]) == str(row["domain_id"])]
    assert (row["input_tokens"] > 0, row["outcome"], row["model"]) == (True, "completed", "claude-haiku-4-5")
    assert len(bodies) == (1 if level in ("full", "redacted") else 0)
    said = " ".join(str(value) for value in row.values())
    if bodies:
        request, response = served.bodies_of(str(row["id"]))
        assert request == BODY or level == "redacted"
        said += (request + response).decode()
    assert (CANARY in said, "grace@example.com" in said, "Bluebird" in said) == ((level == "full"),) * 3
    assert ("beta=true" in row["query"]) == (level in ("full", "redacted"))
    assert all(row[name] == "" for name in PERSONAL if name != "agent_id") == (level == "none")


def test_the_spool_of_a_domain_that_keeps_nothing_holds_nothing_of_what_was_said(
    standin: Standin, tmp_path: Path
) -> None:
    """The database is told late on purpose: everything is still in the spool."""
    with serve(tmp_path, standin.url, STORAGE_BATCH_INTERVAL="60000") as served:
        key = served.run(
            "d = Domain.objects.create(host='m.example.com', storage='metadata')\nprint(ClientKey.issue(d, 'test')[1])"
        )
        headers = [("host", "m.example.com"), ("x-api-key", key), ("anthropic-version", "2023-06-01")]
        while rawhttp.request(served.port, "POST", "/v1/messages", headers, BODY).status == 401:
            pass
        spooled = b"".join(path.read_bytes() for path in (tmp_path / "spool").rglob("*") if path.is_file())
        assert b"claude-haiku-4-5" in spooled
        assert CANARY.encode() not in spooled
        assert b"Tell me more" not in spooled


def test_without_storage_only_figures_are_kept(standin: Standin, tmp_path: Path) -> None:
    with serve(tmp_path, standin.url, STORAGE_ENABLED="false") as served:
        row = sent(served, served.key, "localhost")
        assert row["session_id"]
        assert (row["request_preview"], row["query"]) == ("", "")
        assert served.rows("telemetry_body") == served.rows("telemetry_piece") == []
