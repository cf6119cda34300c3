"""What went through a served Nexus, read back over HTTP and sent once more."""

import csv
import io
import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from bench.standin import Standin
from tests.served import Served, eventually, serve

pytestmark = [pytest.mark.e2e, pytest.mark.once]
FAKE_KEY = "fake-dashboard-key-0001"
QUESTION = b'{"model":"claude-haiku-4-5",  "max_tokens":64,"messages":[{"role":"user","content":"It\'s $HOME?"}]}'


@pytest.fixture(scope="module")
def watched(standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("watched"), standin.url, DASHBOARD_API_KEY=FAKE_KEY) as served:
        yield served


@pytest.fixture(scope="module")
def request_id(watched: Served) -> str:
    """Of one request that is on record."""
    headers = {"x-api-key": watched.key, "anthropic-version": "2023-06-01", "content-type": "application/json"}
    answer = httpx.post(f"{watched.url}/v1/messages", content=QUESTION, headers=headers, trust_env=False)
    assert answer.status_code == 200
    found = answer.headers["x-nexus-request-id"]
    watched.exchange(found)
    return str(found)


def ask(watched: Served, path: str, **query: str) -> Any:
    return httpx.get(f"{watched.url}{path}", params=query, headers={"X-Dashboard-Key": FAKE_KEY}, trust_env=False)


def test_it_is_closed_to_others(watched: Served, request_id: str) -> None:
    for path in ("/api/requests", f"/api/requests/{request_id}", "/token-stats", "/api/docs", "/api/requests/export"):
        for headers in ({}, {"X-Dashboard-Key": "wrong"}, {"X-Dashboard-Key": watched.key}):
            assert httpx.get(watched.url + path, headers=headers, trust_env=False).status_code == 401


def test_what_was_sent_is_read_back(watched: Served, request_id: str) -> None:
    (listed,) = ask(watched, "/api/requests", domain="localhost", limit="1").json()["requests"]
    assert (listed["id"], listed["model"], listed["status"]) == (request_id, "claude-haiku-4-5", 200)
    shown = ask(watched, f"/api/requests/{request_id}").json()["request"]
    assert shown["request_body"].encode() == QUESTION
    assert json.loads(shown["response_body"])["type"] == "message"
    assert ask(watched, f"/api/requests/{listed['upstream_request_id']}").json()["request"] == shown
    # With Redis it is a worker of its own that sums, and this Nexus has none.
    watched.run("from telemetry.money.rollups import roll_up; roll_up(at_once=True)")
    assert ask(watched, "/token-stats").json()["localhost"]["outputTokens"] == listed["output_tokens"] > 0
    assert ask(watched, "/api/storage-stats").json()["stats"][0]["count"] == 1


def test_a_file_of_it_streams(watched: Served, request_id: str) -> None:
    answer = ask(watched, "/api/requests/export")
    assert answer.headers["transfer-encoding"] == "chunked"
    assert [row["id"] for row in csv.DictReader(io.StringIO(answer.text))] == [request_id]


def test_the_documentation_is_served_from_here(watched: Served) -> None:
    assert "swagger-ui-bundle.js" in ask(watched, "/api/docs").text
    assert ask(watched, "/static/ninja/swagger-ui-bundle.js").status_code == 200
    assert ask(watched, "/api/openapi.json").json()["info"]["title"] == "Nexus query API"


def test_it_is_sent_once_more(watched: Served, request_id: str) -> None:
    line = watched.nexus("replay", request_id, "--url", watched.url)
    environment = {"PATH": os.environ["PATH"], "NEXUS_KEY": watched.key}
    done = subprocess.run(["bash", "-eu"], input=line, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["type"] == "message"
    eventually(lambda: ask(watched, "/api/requests").json()["count"] == 2)
    rows = ask(watched, "/api/requests").json()["requests"]
    again = ask(watched, f"/api/requests/{rows[0]['id']}").json()["request"]
    assert again["request_body"].encode() == QUESTION
