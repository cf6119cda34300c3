"""A domain's credentials as one pool, in one process or in four that share what they know."""

import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.standin import Standin, serve_in_thread
from tests import rawhttp
from tests.e2e.pools import FIRST, QUICK, SECOND, THIRD, ask, credentials, error_of, pooled, standings, team, used
from tests.rawhttp import Answer
from tests.served import Served, eventually, serve

pytestmark = pytest.mark.e2e
WORKERS = 4 if os.environ.get("DATABASE_URL") else 1
PLACES = {THIRD: "is_standby=True"}


@pytest.fixture(scope="module")
def standin() -> Iterator[Standin]:
    with serve_in_thread() as served:
        yield served


@pytest.fixture(scope="module")
def served(standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings: Any = {**QUICK, "CIRCUIT_BREAKER_TIMEOUT": "600000"}
    with serve(tmp_path_factory.mktemp("pools"), standin.url, workers=WORKERS, **settings) as nexus:
        yield nexus


@pytest.fixture
def nexus(served: Served, standin: Standin) -> Served:
    """Two of the same rank, and a standby."""
    return team(served, standin, FIRST, SECOND, THIRD, fields=PLACES)


def call(nexus: Served, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    sent = [("x-api-key", nexus.key), ("anthropic-version", "2023-06-01"), ("content-type", "application/json")]
    sent += [(name.replace("_", "-"), value) for name, value in headers.items()]
    return rawhttp.request(nexus.port, method, path, sent, body)


def test_a_session_stays_with_one_credential_whichever_process_it_meets(nexus: Served, standin: Standin) -> None:
    for session in range(6):
        count = len(used(standin))
        assert ask(nexus, f"session-{session}").status == 200
        eventually(functools.partial(_stays, nexus, standin, f"session-{session}", count))
    assert set(used(standin)) <= {FIRST, SECOND}


def _stays(nexus: Served, standin: Standin, session: str, count: int) -> bool:
    """What one process knows, the others hear a moment later."""
    assert {ask(nexus, session).status for _ in range(8)} == {200}
    return len(set(used(standin)[count + 1 :][-8:])) == 1


def test_a_limit_of_the_api_is_heard_of_by_all(nexus: Served, standin: Standin) -> None:
    standin.plan(FIRST, "status=429 retry_after=60")
    standin.plan(SECOND, "status=429 retry_after=60")
    assert ask(nexus).status == 200
    eventually(lambda: [ask(nexus).status for _ in range(12)] and set(used(standin)[-12:]) == {THIRD})
    standin.plan(THIRD, "status=429 retry_after=60")
    assert ask(nexus).status == 429

    def all_know() -> bool:
        answers = [ask(nexus) for _ in range(8)]
        return {answer.status for answer in answers} == {429} and all(
            error_of(answer)["message"].startswith("No credential can take this") for answer in answers
        )

    eventually(all_know)


def test_an_open_circuit_is_heard_of_by_all_and_can_be_closed_by_hand(served: Served, standin: Standin) -> None:
    nexus = team(served, standin, FIRST, THIRD, fields=PLACES)
    standin.plan(FIRST, *["status=500"] * 30)
    eventually(lambda: {ask(nexus).status for _ in range(8)} == {200} and set(used(standin)[-8:]) == {THIRD})
    assert 5 <= used(standin).count(FIRST) <= 30
    if WORKERS > 1:
        (key,) = (row_id for row_id, name in credentials(nexus).items() if name == "c0001")
        nexus.run(
            "from telemetry.credentials import reading\nfrom telemetry.credentials.circuit import CircuitState\n"
            f"import time, uuid\nkey = str(uuid.UUID('{key}'))\n"
            "assert reading.standings()[key].circuit(time.time()) is CircuitState.OPEN\nreading.reset(key)"
        )
        standin.reset()
        eventually(lambda: {ask(nexus).status for _ in range(8)} == {200} and set(used(standin)[-8:]) == {FIRST})


def test_a_message_batch_is_asked_for_where_it_was_made(nexus: Served, standin: Standin) -> None:
    requests = [{"custom_id": "a", "params": {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": []}}]
    requests[0]["params"]["messages"] = [{"role": "user", "content": "Hi"}]  # type: ignore[index]
    body = json.dumps({"requests": requests}).encode()
    created = call(nexus, "POST", "/v1/messages/batches", body, x_claude_code_session_id="one")
    assert created.status == 200
    made_with, batch = used(standin)[-1], json.loads(created.body)["id"]
    for number in range(8):
        path = f"/v1/messages/batches/{batch}"
        assert call(nexus, "GET", path, x_claude_code_session_id=f"other-{number}").status == 200
        assert used(standin)[-1] == made_with
    eventually(lambda: [row for row in nexus.rows("telemetry_belonging") if row["id"] == batch])


def test_limits_of_ours_on_one_credential_lead_to_the_next(nexus: Served, standin: Standin) -> None:
    nexus.run(
        "newest = Domain.objects.order_by('-created_at').first()\n"
        "for row in newest.credentials.filter(is_standby=False):\n"
        "    RateLimit.objects.create(credential=row, requests_per_minute=2)"
    )

    def has_moved() -> bool:
        return ask(nexus).status == 200 and used(standin)[-1] == THIRD

    eventually(has_moved)
    row = nexus.exchange(ask(nexus).header("x-nexus-request-id"))
    assert (row["attempts"], row["tries"], row["refused_by"]) == (1, "", "")


def test_a_replacement_that_the_api_refuses_is_taken_back(served: Served, standin: Standin) -> None:
    nexus = team(served, standin, FIRST, SECOND, fields={SECOND: "replaces=c0001, traffic_percent=100"})
    assert ask(nexus).status == 200
    assert used(standin) == [SECOND]
    standin.revoked.add(SECOND)
    assert ask(nexus).status == 200
    assert used(standin)[-2:] == [SECOND, FIRST]
    eventually(lambda: standings(nexus).get("c0002", {}).get("rolled_back_at"))
    names = credentials(nexus)
    rows = {str(row["id"]).replace("-", ""): row["traffic_percent"] for row in nexus.rows("accounts_credential")}
    assert {names[row_id]: percent for row_id, percent in rows.items() if row_id in names}["c0002"] == 0
    eventually(lambda: [ask(nexus).status for _ in range(6)] and set(used(standin)[-6:]) == {FIRST})


@pytest.mark.skipif(WORKERS > 1, reason="a cluster keeps it in Redis")
def test_a_restart_forgets_no_limit_of_the_api(standin: Standin, tmp_path: Path) -> None:
    with pooled(standin, tmp_path, FIRST) as first:
        standin.plan(FIRST, "status=429 retry_after=600")
        assert ask(first).status == 429
        key, database_url = first.key, first.database_url
        assert first.stop() == 0
    with serve(tmp_path, standin.url, database_url=database_url) as second:
        second.key = key
        refused = ask(second)
        assert (refused.status, refused.header("x-nexus-limit")) == (429, "credential cooling")


@pytest.mark.skipif(WORKERS == 1, reason="one process has nobody to tell")
def test_redis_away_leaves_each_process_with_what_it_knows(standin: Standin, tmp_path: Path) -> None:
    with pooled(standin, tmp_path, FIRST, SECOND, workers=2, REDIS_URL="redis://127.0.0.1:9/0") as nexus:
        standin.plan(FIRST, "status=529", "status=429 retry_after=60")
        assert {ask(nexus, f"s{number}").status for number in range(12)} == {200}
