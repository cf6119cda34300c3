"""Limits and budgets of a served Nexus, as a program meets them."""

import json
from collections.abc import Iterator
from pathlib import Path

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
