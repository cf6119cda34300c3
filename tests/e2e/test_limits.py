"""Limits and budgets of a served Nexus, as a program meets them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.rawhttp import Answer
from tests.served import Served, eventually, serve

pytestmark = pytest.mark.e2e


@pytest.fixture
def nexus(standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("limits"), standin.url, RATE_LIMIT_MAX_REQUESTS="2") as served:
        yield served


def ask(nexus: Served, **fields: object) -> Answer:
    body = {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}], **fields}
    return rawhttp.request(
        nexus.port,
        "POST",
        "/v1/messages",
        [("x-api-key", nexus.key), ("anthropic-version", "2023-06-01")],
        json.dumps(body).encode(),
    )


def error_of(answer: Answer) -> dict[str, str]:
    error: dict[str, str] = json.loads(answer.body)["error"]
    return error


def test_the_defaults_of_the_environment_limit_a_key_and_say_so(nexus: Served) -> None:
    first, second, third = (ask(nexus) for _ in range(3))
    assert [each.status for each in (first, second, third)] == [200, 200, 429]
    assert [each.header("x-nexus-ratelimit-requests-remaining") for each in (first, second)] == ["1", "0"]
    assert error_of(third)["type"] == "rate_limit_error"
    assert third.header("x-nexus-limit") == "key requests per hour"
    assert 0 < int(third.header("retry-after")) <= 3660
    assert third.header("x-should-retry") == "false"  # an hour is longer than an SDK ought to sleep
    assert nexus.exchange(third.header("x-nexus-request-id"))["refused_by"] == "key requests per hour"


def test_a_spent_budget_does_not_invite_retries(standin: Standin, tmp_path: Path) -> None:
    with serve(tmp_path, standin.url) as nexus:
        _check_a_spent_budget(nexus)


def _check_a_spent_budget(nexus: Served) -> None:
    assert ask(nexus).status == 200
    nexus.run(
        "Budget.objects.create(name='Trial', client_key=ClientKey.objects.get(), period='day', amount_usd='0.000001')"
    )

    def refused() -> Answer | None:
        answer = ask(nexus)
        return answer if answer.status == 429 and error_of(answer)["type"] == "billing_error" else None

    # The new budget is known within two seconds; what was spent before it was made counts too.
    answer = eventually(refused)
    assert answer is not None
    assert answer.status == 429
    assert answer.header("x-should-retry") == "false"
    assert 0 < int(answer.header("retry-after")) <= 86_400


def test_a_restart_hands_out_no_fresh_windows(standin: Standin, tmp_path: Path) -> None:
    with serve(tmp_path, standin.url, RATE_LIMIT_MAX_REQUESTS="2") as first:
        assert [ask(first).status for _ in range(3)] == [200, 200, 429]
        eventually(lambda: "100%" in first.nexus("limits", "first key"))  # the file is written every second
        key, database_url = first.key, first.database_url
        assert first.stop() == 0
    with serve(tmp_path, standin.url, database_url=database_url, RATE_LIMIT_MAX_REQUESTS="2") as second:
        second.key = key
        assert ask(second).status == 429


def test_a_command_beside_it_sees_what_is_used_and_of_what(standin: Standin, tmp_path: Path) -> None:
    with serve(tmp_path, standin.url) as nexus:
        nexus.run(
            "RateLimit.objects.create(client_key=ClientKey.objects.get(), requests_per_minute=10)\n"
            "Budget.objects.create(name='Team', domain=Domain.objects.get(), period='day', amount_usd='1')"
        )
        told = eventually(lambda: _limits_with_use(nexus), seconds=20) or {}
    lines = {line["name"]: line for line in told["limits"]}
    assert float(lines["budget Team"]["used"]) > 0
    assert lines["domain requests per hour"]["used"] >= lines["key requests per minute"]["used"] > 0
    assert lines["key requests per hour"]["why_not"] == "replaced by the limit of client key first key"


def _limits_with_use(nexus: Served) -> dict[str, Any] | None:
    """Once the new limit is known to the process that serves, and what it counted to the one that looks."""
    assert ask(nexus).status == 200
    told: dict[str, Any] = json.loads(nexus.nexus("limits", "first key", "--json"))
    used = {line["name"]: float(line["used"]) for line in told["limits"]}
    return told if used["key requests per minute"] and used["budget Team"] else None
