"""nginx and Caddy with the files in `deploy/`, in front of a Nexus: streams pass as they come, end when their client
leaves, and nobody says who they are."""

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from bench.standin import Standin
from tests.cluster import nginx
from tests.load import MESSAGES, body_of
from tests.served import Served, eventually, serve
from tests.services import MISSING, free_port

CADDY = shutil.which("caddy")
CADDYFILE = Path(__file__).parents[2] / "deploy" / "caddy" / "Caddyfile"
pytestmark = [pytest.mark.e2e, pytest.mark.once]


@pytest.fixture
def served(standin: Standin, tmp_path: Path) -> Iterator[Served]:
    with serve(tmp_path, standin.url, TRUSTED_PROXIES="127.0.0.1") as found:
        yield found


@contextlib.contextmanager
def behind_nginx(served: Served, folder: Path) -> Iterator[str]:
    front = nginx.Nginx(folder, [served.port, served.port])
    front.start()
    try:
        yield front.url
    finally:
        front.stop()


@contextlib.contextmanager
def behind_caddy(served: Served, folder: Path) -> Iterator[str]:
    port = free_port()
    text = CADDYFILE.read_text(encoding="utf-8")
    text = re.sub(r"10\.0\.0\.11:8000 10\.0\.0\.12:8000", f"127.0.0.1:{served.port}", text)
    text = "{\n\tadmin off\n}\n" + text.replace("nexus.example {", f"http://127.0.0.1:{port} {{")
    (folder / "Caddyfile").write_text(text)
    assert CADDY
    environment = {"HOME": str(folder), "PATH": "/usr/bin"}
    command = [CADDY, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    with (folder / "caddy.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: _answers(url))
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(behind_nginx, marks=pytest.mark.skipif(not nginx.PROGRAM, reason=f"tests of nginx {MISSING}: it")),
        pytest.param(behind_caddy, marks=pytest.mark.skipif(not CADDY, reason=f"tests of Caddy {MISSING}: it")),
    ],
)
def test_events_pass_while_the_stream_is_open(
    behind: Callable[[Served, Path], AbstractContextManager[str]], served: Served, tmp_path: Path
) -> None:
    """The API falls silent after two events, and both are here: nothing waits for more. Then the client leaves, and the
    call ends."""
    with behind(served, tmp_path) as url:
        headers = {"x-api-key": served.key, "anthropic-version": "2023-06-01", "x-forwarded-for": "203.0.113.9"}
        body = body_of("[[standin silent_at=2 key=caddy]]", stream=True)
        with httpx.stream("POST", url + MESSAGES, headers=headers, json=body, timeout=20, trust_env=False) as answer:
            assert answer.status_code == 200
            lines = answer.iter_lines()
            events = [
                json.loads(line[6:])["type"] for line in (next(lines) for _ in range(5)) if line.startswith("data")
            ]
            request_id = answer.headers["x-nexus-request-id"]
        assert events[0] == "message_start"
        row = served.exchange(request_id)
        assert (row["client_address"], row["outcome"]) == ("127.0.0.1", "cancelled")
        assert httpx.get(f"{url}/metrics", trust_env=False).status_code == 404
