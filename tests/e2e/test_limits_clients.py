"""What the official clients do by themselves when a limit of ours is reached or a budget is spent."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.e2e import clients
from tests.served import Served, eventually, serve

pytestmark = [pytest.mark.e2e, pytest.mark.once]

SCRIPT = Path(__file__).with_name("typescript.mjs")
PREPARING = "preparing"
BUDGET = "Budget.objects.create(name='Trial', domain=Domain.objects.get(), period='day', amount_usd='0.0001')"


@pytest.fixture
def limited(standin: Standin, tmp_path: Path) -> Iterator[Served]:
    """Of two requests at once the second has to come again, five seconds later."""
    with serve(tmp_path, standin.url, RATE_LIMIT_WINDOW_MS="5000", RATE_LIMIT_MAX_REQUESTS="1") as served:
        yield served


@pytest.fixture
def spent(standin: Standin, tmp_path: Path) -> Iterator[Served]:
    """The domain's budget for today is spent."""
    with serve(tmp_path, standin.url) as served:
        assert _status(served) == 200
        served.run(BUDGET)
        eventually(lambda: _status(served) == 429)
        yield served


def _status(served: Served) -> int:
    headers = [("x-api-key", served.key), ("anthropic-version", "2023-06-01"), ("user-agent", PREPARING)]
    body = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}
    return rawhttp.request(served.port, "POST", "/v1/messages", headers, json.dumps(body).encode()).status


def client(served: Served, max_retries: int = 0) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=served.url, api_key=served.key, max_retries=max_retries)


def ask(sdk: anthropic.Anthropic) -> anthropic.types.Message:
    return sdk.messages.create(
        model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": "Hello"}]
    )


def statuses(served: Served) -> list[int]:
    """Of all requests that the client made, in order: on record once Nexus has stopped."""
    served.stop()
    rows = [row for row in served.rows("telemetry_exchange") if row["user_agent"] != PREPARING]
    return [row["status"] for row in sorted(rows, key=lambda row: str(row["id"]))]


def typescript(served: Served, home: Path, **variables: str) -> Any:
    """What the SDK got, as JSON."""
    settings = {"ANTHROPIC_BASE_URL": served.url, "ANTHROPIC_API_KEY": served.key, **variables}
    done = subprocess.run(
        [str(clients.NODE), str(SCRIPT), "plain"],
        env=clients.environment(home, **settings),
        capture_output=True,
        text=True,
        timeout=clients.TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_python_sdk_comes_again_when_there_is_room(limited: Served) -> None:
    with client(limited, max_retries=2) as sdk:
        for _ in range(2):
            assert ask(sdk).content
    assert statuses(limited) == [200, 429, 200]


@clients.missing
def test_the_typescript_sdk_comes_again_when_there_is_room(limited: Served, tmp_path: Path) -> None:
    for _ in range(2):
        assert "content" in typescript(limited, tmp_path, MAX_RETRIES="2")["data"]
    assert statuses(limited) == [200, 429, 200]


def test_the_python_sdk_is_told_once_that_the_money_is_spent(spent: Served) -> None:
    with client(spent, max_retries=5) as sdk, pytest.raises(anthropic.RateLimitError) as refused:
        ask(sdk)
    body: Any = refused.value.body
    assert body["error"]["type"] == "billing_error"
    assert "“Trial”" in body["error"]["message"]
    assert statuses(spent) == [429]


@clients.missing
def test_the_typescript_sdk_is_told_once_that_the_money_is_spent(spent: Served, tmp_path: Path) -> None:
    told = typescript(spent, tmp_path, MAX_RETRIES="5")
    assert "“Trial”" in json.dumps(told, ensure_ascii=False)
    assert statuses(spent) == [429]


@clients.missing
def test_claude_code_says_at_once_that_the_money_is_spent(spent: Served, tmp_path: Path) -> None:
    settings = {"ANTHROPIC_BASE_URL": spent.url, "ANTHROPIC_AUTH_TOKEN": spent.key}
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [str(clients.CLAUDE), "-p", "Hello", "--output-format", "json"],
        env=clients.environment(home, **settings),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=clients.TIMEOUT_SECONDS,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["is_error"]
    assert "“Trial”" in told["result"], told
    assert done.returncode != 0
    assert statuses(spent) == [429]
