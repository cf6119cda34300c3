"""What a client sees while credentials fail, one failure after the other: in one process, against the stand-in."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.standin import Standin, serve_in_thread
from tests import rawhttp
from tests.e2e.pools import FIRST, QUICK, SECOND, ask, credentials, error_of, pooled, standings, team, used
from tests.served import Served, eventually, serve

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def standin() -> Iterator[Standin]:
    with serve_in_thread() as served:
        yield served


@pytest.fixture(scope="module")
def served(standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings: Any = QUICK
    with serve(tmp_path_factory.mktemp("failover"), standin.url, **settings) as nexus:
        yield nexus


@pytest.fixture
def nexus(served: Served, standin: Standin) -> Served:
    """A domain with two credentials, of which one is a standby."""
    return team(served, standin, FIRST, SECOND, fields={SECOND: "is_standby=True"})


def test_529_is_tried_again_in_place_and_then_with_the_next(nexus: Served, standin: Standin) -> None:
    standin.plan(FIRST, "status=529")
    assert ask(nexus).status == 200
    assert used(standin) == [FIRST, FIRST]
    standin.plan(FIRST, *["status=529"] * 3)
    answer = ask(nexus)
    assert answer.status == 200
    assert used(standin, since=2) == [FIRST, FIRST, FIRST, SECOND]
    row = nexus.exchange(answer.header("x-nexus-request-id"))
    assert (row["attempts"], row["tries"]) == (4, "c0001 529, c0001 529, c0001 529, c0002 200")
    assert credentials(nexus)[str(row["credential_id"]).replace("-", "")] == "c0002"
    assert ask(nexus).status == 200
    assert used(standin)[-1] == FIRST  # nobody is benched for it


def test_the_last_error_reaches_the_client_as_it_came(nexus: Served, standin: Standin) -> None:
    standin.plan(FIRST, *["status=529"] * 3)
    standin.plan(SECOND, "status=500", "status=503", "status=500")
    answer = ask(nexus)
    sent = standin.recorder.last
    assert (answer.status, answer.body) == (500, bytes(sent.sent))
    assert answer.header("request-id") == json.loads(answer.body)["request_id"]
    assert used(standin) == [FIRST] * 3 + [SECOND] * 3


def test_429_cools_the_credential_down_for_that_family_until_the_api_said(nexus: Served, standin: Standin) -> None:
    standin.plan(FIRST, "status=429 retry_after=2")
    assert [ask(nexus).status for _ in range(3)] == [200, 200, 200]
    assert used(standin) == [FIRST, SECOND, SECOND, SECOND]
    assert ask(nexus, model="claude-opus-5").status == 200
    assert used(standin)[-1] == FIRST
    eventually(lambda: ask(nexus).status == 200 and used(standin)[-1] == FIRST)


def test_where_all_cool_down_the_client_hears_for_how_long(nexus: Served, standin: Standin) -> None:
    standin.plan(FIRST, "status=429 retry_after=2")
    standin.plan(SECOND, "status=429 retry_after=30")
    last = ask(nexus)
    assert (last.status, last.body) == (429, bytes(standin.recorder.last.sent))
    refused = ask(nexus)
    assert (refused.status, refused.header("x-nexus-limit")) == (429, "credential cooling")
    assert 1 <= int(refused.header("retry-after")) <= 2
    assert error_of(refused)["type"] == "rate_limit_error"
    assert "c0001" in error_of(refused)["message"]
    assert len(used(standin)) == 2
    assert nexus.exchange(refused.header("x-nexus-request-id"))["refused_by"] == "credential cooling"


def test_a_refused_credential_is_probed_marked_and_left_alone(nexus: Served, standin: Standin) -> None:
    standin.revoked.add(FIRST)
    assert ask(nexus).status == 200
    assert used(standin) == [FIRST, SECOND]
    eventually(lambda: standings(nexus).get("c0001", {}).get("invalid_since"))
    assert "401" in standings(nexus)["c0001"]["invalid_reason"]
    eventually(lambda: ask(nexus).status == 200 and used(standin)[-1] == SECOND)
    count = len(used(standin))
    assert [ask(nexus).status for _ in range(3)] == [200] * 3
    assert used(standin)[count:] == [SECOND] * 3


def test_a_refusal_that_is_the_requests_own_fault_marks_nothing(nexus: Served, standin: Standin) -> None:
    standin.plan(FIRST, "status=403")
    standin.plan(SECOND, "status=403")
    assert ask(nexus).status == 403
    eventually(lambda: [row for row in standings(nexus).values() if row["check_status"] == 200])
    assert not [row for row in standings(nexus).values() if row["invalid_since"]]
    eventually(lambda: ask(nexus).status == 200 and used(standin)[-1] == FIRST)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_failures_of_the_api_are_tried_again_and_open_the_circuit(nexus: Served, standin: Standin, status: int) -> None:
    standin.plan(FIRST, *[f"status={status}"] * 5)
    assert [ask(nexus).status for _ in range(3)] == [200] * 3
    assert used(standin) == [FIRST] * 3 + [SECOND] + [FIRST] * 2 + [SECOND, SECOND]
    eventually(lambda: ask(nexus).status == 200 and used(standin)[-1] == FIRST)


def test_an_open_circuit_says_when_to_come_again(served: Served, standin: Standin) -> None:
    nexus = team(served, standin, FIRST)
    standin.plan(FIRST, *["status=500"] * 5)
    assert [ask(nexus).status for _ in range(2)] == [500, 500]
    refused = ask(nexus)
    assert (refused.status, error_of(refused)["type"]) == (503, "api_error")
    assert (refused.header("retry-after"), refused.header("x-should-retry")) == ("2", "true")
    assert "gets no answer" in error_of(refused)["message"]
    assert len(used(standin)) == 5
    eventually(lambda: ask(nexus).status == 200)
    assert [ask(nexus).status for _ in range(3)] == [200] * 3


def test_the_apis_refusals_never_open_a_circuit(nexus: Served, standin: Standin) -> None:
    standin.plan(FIRST, *["status=400"] * 20)
    assert [ask(nexus).status for _ in range(20)] == [400] * 20
    standin.plan(FIRST, *["status=529"] * 20)
    assert {ask(nexus).status for _ in range(6)} == {200}
    assert ask(nexus).status == 200
    assert used(standin)[-1] in (FIRST, SECOND)
    count = len(used(standin))
    ask(nexus)
    assert used(standin)[count] == FIRST


def test_what_may_have_been_billed_is_not_sent_twice(nexus: Served, standin: Standin) -> None:
    standin.plan(FIRST, "die_at=-1")
    answer = ask(nexus)
    assert (answer.status, error_of(answer)["type"]) == (502, "api_error")
    assert used(standin) == [FIRST]


def test_what_is_free_is_sent_again_when_the_connection_breaks(nexus: Served, standin: Standin) -> None:
    standin.plan(FIRST, "die_at=-1")
    body = json.dumps({"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    headers = [("x-api-key", nexus.key), ("anthropic-version", "2023-06-01")]
    answer = rawhttp.request(nexus.port, "POST", "/v1/messages/count_tokens", headers, body)
    assert answer.status == 200
    assert used(standin) == [FIRST, FIRST]


def test_nothing_is_repeated_once_the_answer_has_begun(nexus: Served, standin: Standin) -> None:
    standin.plan(FIRST, "die_at=3", "error_at=2")
    broken, failed = ask(nexus, stream=True), ask(nexus, stream=True)
    assert b"event: error" in broken.body
    assert failed.body == bytes(standin.recorder.last.sent)
    assert used(standin) == [FIRST, FIRST]


def test_a_longer_wait_than_ours_is_the_clients(nexus: Served, standin: Standin) -> None:
    standin.plan(FIRST, "status=503 retry_after=40")
    standin.plan(SECOND, "status=503 retry_after=40")
    answer = ask(nexus)
    assert (answer.status, answer.header("retry-after")) == (503, "40")
    assert used(standin) == [FIRST, SECOND]


def test_without_anybody_at_the_other_end_it_says_so_soon(standin: Standin, tmp_path: Path) -> None:
    never = {"CIRCUIT_BREAKER_FAILURE_THRESHOLD": "1000", "CIRCUIT_BREAKER_VOLUME_THRESHOLD": "1000"}
    with pooled(standin, tmp_path, FIRST, SECOND, CLAUDE_API_BASE_URL="http://127.0.0.1:9", **never) as nexus:  # type: ignore[arg-type]
        answer = ask(nexus)
        assert (answer.status, error_of(answer)["type"]) == (502, "api_error")
        row = nexus.exchange(answer.header("x-nexus-request-id"))
        assert row["attempts"] == 6
