"""`nexus web` and `nexus migrate`: roles of a cluster, what they prepare and what they wait for."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.cluster.processes import Role
from tests.load import MESSAGES, body_of
from tests.served import eventually, new_database, serve
from tests.services import free_port

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not os.environ.get("DATABASE_URL"), reason="it is about several processes on PostgreSQL"),
]


def nexus(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "nexus", *arguments]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=120)


def test_four_that_migrate_at_once_bring_it_up_to_date_once() -> None:
    url = new_database()
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: nexus("migrate", DATABASE_URL=url), range(4)))
    assert [each.returncode for each in done] == [0] * 4, [each.stderr for each in done]
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*), count(DISTINCT (app, name)) FROM django_migrations").fetchone()
    assert row is not None
    assert row[0] == row[1] > 20


def test_it_waits_for_the_migrations_and_serves_then(standin: Standin, tmp_path: Path) -> None:
    url, port = new_database(), free_port()
    environment = os.environ | {"DATABASE_URL": url, "NEXUS_DATA": str(tmp_path), "CLAUDE_API_BASE_URL": standin.url}
    web = Role("web", ("web", "--port", str(port)), environment, tmp_path)
    web.start()
    try:
        eventually(lambda: "Run `nexus migrate`" in web.log.read_text())
        assert nexus("migrate", DATABASE_URL=url).returncode == 0
        eventually(lambda: _is_ready(port))
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT count(*) FROM auth_user").fetchone()
        assert row == (0,), "nothing is made for a first user"
    finally:
        web.kill_all()


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("arguments", "variables", "sentence"),
    [
        (("web",), {"REDIS_URL": ""}, "needs REDIS_URL and DATABASE_URL"),
        (("web", "--wait", "0"), {}, "Run `nexus migrate`"),
        (("web", "--wait", "0"), {"DATABASE_URL": "postgres://u:s3cret@127.0.0.1:1/x"}, "cannot be reached"),
        (("migrate", "--wait", "0"), {"DATABASE_URL": "postgres://u:s3cret@127.0.0.1:1/x"}, "cannot be reached"),
    ],
)
def test_what_cannot_work_is_told_in_a_sentence(
    arguments: tuple[str, ...], variables: dict[str, str], sentence: str
) -> None:
    empty = new_database() if "DATABASE_URL" not in variables else ""
    port = ("--port", str(free_port())) if arguments[0] == "web" else ()
    done = nexus(*arguments, *port, **({"DATABASE_URL": empty} if empty else {}), **variables)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("trusted", "forwarded", "recorded"),
    [
        ("", "203.0.113.9", "127.0.0.1"),
        ("10.0.0.0/8", "203.0.113.9", "127.0.0.1"),
        ("127.0.0.0/8", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.0/8,10.0.0.0/8", "198.51.100.1, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
    ],
)
def test_a_forwarded_address_counts_where_the_proxy_is_trusted(
    standin: Standin, tmp_path: Path, trusted: str, forwarded: str, recorded: str
) -> None:
    """What is left of the last address that is not a proxy's was said by the client itself."""
    with serve(tmp_path, standin.url, TRUSTED_PROXIES=trusted) as served:
        headers = [("x-api-key", served.key), ("anthropic-version", "2023-06-01"), ("x-forwarded-for", forwarded)]
        body = json.dumps(body_of("Hello", stream=False)).encode()
        answer = rawhttp.request(served.port, "POST", MESSAGES, headers, body)
        assert served.exchange(answer.header("x-nexus-request-id"))["client_address"] == recorded
