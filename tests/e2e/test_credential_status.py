"""How credentials stand while a Nexus serves: what the command and the admin say of it, and what they set back."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.standin import Standin, serve_in_thread
from tests.e2e.pools import FIRST, SECOND, ask, pooled, used
from tests.served import Served, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.once_in_cluster]
FAKE_PASSWORD = "a-fake-password-of-the-tests"


@pytest.fixture
def standin() -> Iterator[Standin]:
    """One for each test: what it plans and revokes is nobody else's."""
    with serve_in_thread() as served:
        yield served


@pytest.fixture
def nexus(standin: Standin, tmp_path: Path) -> Iterator[Served]:
    """Its circuits stay open for long."""
    fields = {SECOND: "is_standby=True"}
    with pooled(standin, tmp_path, FIRST, SECOND, fields=fields, CIRCUIT_BREAKER_TIMEOUT="600000") as served:
        yield served


def check(nexus: Served, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    command = [sys.executable, "-m", "nexus", "check-credentials", "--json", *arguments]
    done = subprocess.run(command, env=nexus.environment, capture_output=True, text=True)
    rows = [row for row in json.loads(done.stdout) if row["id"]]
    return done.returncode, {row["name"]: row for row in rows}


class Admin:
    """A browser. The cookies are for https only, which a test does without."""

    def __init__(self, nexus: Served) -> None:
        nexus.run(
            "from django.contrib.auth.models import User\n"
            f"User.objects.create_superuser('grace', password={FAKE_PASSWORD!r})"
        )
        self._url = nexus.url
        self._cookies: dict[str, str] = {}
        self._ask("GET", "/admin/login/")
        self._post("/admin/login/", username="grace", password=FAKE_PASSWORD)
        self._ids = {row["name"]: row["id"] for row in check(nexus)[1].values()}

    def page(self, name: str) -> str:
        return self._ask("GET", f"/admin/accounts/credential/{self._ids[name]}/change/")

    def do(self, name: str, deed: str) -> str:
        self._post(f"/admin/accounts/credential/{self._ids[name]}/do/", do=deed, confirmed="yes")
        return self.page(name)

    def _post(self, path: str, **fields: str) -> None:
        self._ask("POST", path, csrfmiddlewaretoken=self._cookies["csrftoken"], **fields)

    def _ask(self, method: str, path: str, **fields: str) -> str:
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        headers = {"cookie": cookies, "referer": f"{self._url}{path}"}
        answer = httpx.request(
            method, self._url + path, data=fields or None, headers=headers, trust_env=False, timeout=20
        )
        assert answer.status_code in (200, 302), answer.text
        self._cookies |= dict(answer.cookies)
        return answer.text


def test_an_open_circuit_is_seen_and_closed_by_hand(nexus: Served, standin: Standin) -> None:
    standin.plan(FIRST, *["status=500"] * 5)
    assert [ask(nexus).status for _ in range(3)] == [200] * 3
    assert used(standin)[-1] == SECOND
    admin = Admin(nexus)
    found = eventually(lambda: (row := check(nexus)[1]["c0001"])["status"] == "open" and row)
    assert "500" in found["reason"]
    assert check(nexus)[0] == 1
    assert check(nexus, "c0002")[0] == 0
    assert "It is left alone for a while" in admin.page("c0001")
    assert "Its circuit is closed" in admin.do("c0001", "reset")
    eventually(lambda: ask(nexus).status == 200 and used(standin)[-1] == FIRST)
    eventually(lambda: check(nexus)[0] == 0)


def test_what_cools_is_seen_and_let_go(nexus: Served, standin: Standin) -> None:
    standin.plan(FIRST, "status=429 retry_after=3000")
    assert [ask(nexus).status for _ in range(2)] == [200, 200]
    assert used(standin) == [FIRST, SECOND, SECOND]
    admin = Admin(nexus)
    eventually(lambda: "haiku until " in admin.page("c0001"))
    assert "The API has answered 429 for haiku." in admin.page("c0001")
    admin.do("c0001", "reset")
    eventually(lambda: ask(nexus).status == 200 and used(standin)[-1] == FIRST)
    assert "haiku until " not in admin.page("c0001")


def test_what_the_api_takes_again_is_used_again(nexus: Served, standin: Standin) -> None:
    standin.revoked.add(FIRST)
    assert ask(nexus).status == 200
    eventually(lambda: check(nexus)[1]["c0001"]["status"] == "invalid")
    assert used(standin)[-1] == SECOND
    standin.revoked.discard(FIRST)
    assert check(nexus)[0] == 0
    eventually(lambda: ask(nexus).status == 200 and used(standin)[-1] == FIRST)


def test_limits_are_seen_and_the_page_says_who_used_it(nexus: Served) -> None:
    nexus.run(
        "first = Credential.objects.get(name='c0001')\n"
        f"first.kind, first.secret = 'bearer', 'sk-ant-oat01-fake-token-of-a-pool-{FIRST}'\n"
        "first.save()"
    )
    admin = Admin(nexus)
    eventually(lambda: ask(nexus).status == 200 and "<td>unified-5h</td>" in admin.page("c0001"))
    eventually(lambda: ".example.com: " in admin.page("c0001"))
    assert "fake-token" not in admin.page("c0001")


def test_forgotten_sessions_are_free(standin: Standin, tmp_path: Path) -> None:
    with pooled(standin, tmp_path, FIRST, SECOND) as nexus:
        sessions = [f"session-{n}" for n in range(20)]

        def where() -> list[str]:
            before = len(standin.recorder.exchanges)
            assert [ask(nexus, session).status for session in sessions] == [200] * len(sessions)
            return used(standin, since=standin.recorder.exchanges[before - 1].number if before else 0)

        first = where()
        assert where() == first
        admin = Admin(nexus)
        for name in ("c0001", "c0002"):
            assert "Its sessions are forgotten" in admin.do(name, "forget")
        assert eventually(lambda: (now := where()) != first and now)
