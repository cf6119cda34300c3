"""Credentials that renew themselves, in front of real requests: one process, four processes, a worker."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.standin import Standin, serve_in_thread
from tests import rawhttp
from tests.e2e.pools import QUICK, ask, error_of
from tests.oauthserver import ACCESS, CLIENT_ID, OAuthServer, Trouble, oauth_server
from tests.served import Served, eventually, serve

pytestmark = pytest.mark.e2e


@pytest.fixture
def standin() -> Iterator[Standin]:
    with serve_in_thread() as served:
        yield served


@pytest.fixture
def server() -> Iterator[OAuthServer]:
    with oauth_server() as served:
        yield served


def variables(server: OAuthServer) -> dict[str, str]:
    return {**QUICK, "CLAUDE_OAUTH_TOKEN_URL": f"{server.url}/token", "CLAUDE_OAUTH_CLIENT_ID": CLIENT_ID}


def credential_code(server: OAuthServer, minutes: float, access_token: str = ACCESS + "old") -> str:
    return (
        "from datetime import timedelta\nfrom django.utils import timezone\n"
        "row = Credential.objects.create(domain=Domain.objects.get(host='localhost'), name='grace', owner='Grace', "
        "kind='oauth')\n"
        f"OAuthToken.objects.create(credential=row, access_token='{access_token}', refresh_token='{server.issue()}', "
        f"expires_at=timezone.now() + timedelta(minutes={minutes}), version=1)\n"
    )


@pytest.fixture
def nexus(standin: Standin, server: OAuthServer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Served]:
    """Its only credential's token has ended."""
    workers = getattr(request, "param", 1)
    settings = variables(server)
    with serve(tmp_path, standin.url, **settings) as first:  # type: ignore[arg-type]
        key, database_url = first.key, first.database_url
        first.stop()
        first.run(credential_code(server, minutes=-1))
    with serve(tmp_path, standin.url, workers=workers, database_url=database_url, **settings) as served:
        served.key = key
        yield served


def test_a_token_that_has_ended_is_renewed_on_the_way(nexus: Served, standin: Standin, server: OAuthServer) -> None:
    assert ask(nexus).status == 200
    sent = dict(standin.recorder.last.headers)
    assert sent["authorization"].startswith(f"Bearer {ACCESS}")
    assert sent["anthropic-beta"] == "oauth-2025-04-20"
    assert "x-api-key" not in sent
    assert ask(nexus).status == 200
    assert server.refreshes == 1


@pytest.mark.once
def test_the_clients_betas_stay(nexus: Served, standin: Standin) -> None:
    body = json.dumps({"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]})
    headers = [("x-api-key", nexus.key), ("anthropic-version", "2023-06-01"), ("anthropic-beta", "one,two")]
    assert rawhttp.request(nexus.port, "POST", "/v1/messages", headers, body.encode()).status == 200
    assert dict(standin.recorder.last.headers)["anthropic-beta"] == "one,two,oauth-2025-04-20"
    assert bytes(standin.recorder.last.body) == body.encode()


@pytest.mark.parametrize("nexus", [4 if os.environ.get("DATABASE_URL") else 1], indirect=True)
def test_fifty_at_once_on_an_ended_token_cause_one_refresh(nexus: Served, server: OAuthServer) -> None:
    server.delay_seconds = 0.3
    with ThreadPoolExecutor(50) as pool:
        assert set(pool.map(lambda _: ask(nexus).status, range(50))) == {200}
    assert server.refreshes == 1


@pytest.mark.once
def test_a_token_that_the_api_does_not_take_is_renewed_once(
    nexus: Served, standin: Standin, server: OAuthServer
) -> None:
    assert ask(nexus).status == 200
    standin.revoked.add(dict(standin.recorder.last.headers)["authorization"][-8:])
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: ask(nexus).status, range(8))) == {200}
    assert server.refreshes == 2
    assert not [row for row in nexus.rows("accounts_credentialstanding") if row["invalid_since"]]


@pytest.mark.once
def test_who_cannot_renew_says_why(nexus: Served, server: OAuthServer) -> None:
    server.troubles.append(Trouble(503, b'{"error": "temporarily_unavailable"}', {"retry-after": "1"}))
    answer = ask(nexus)
    assert (answer.status, error_of(answer)["type"]) == (503, "api_error")
    assert "answered 503 (temporarily_unavailable)" in error_of(answer)["message"]
    assert ask(nexus).status == 503
    assert len(server.asked) == 1
    eventually(lambda: ask(nexus).status == 200, seconds=20)


def test_it_is_renewed_before_anybody_needs_it(standin: Standin, server: OAuthServer, tmp_path: Path) -> None:
    """By the background, five minutes before its end."""
    settings = variables(server)
    with serve(tmp_path, standin.url, **settings) as nexus:  # type: ignore[arg-type]
        nexus.run(credential_code(server, minutes=4))
        nexus.run("from telemetry.tasks import refresh_tokens\nrefresh_tokens()")
        assert server.refreshes == 1
        assert nexus.rows("accounts_oauthtoken")[0]["version"] == 2
