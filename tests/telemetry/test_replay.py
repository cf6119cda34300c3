"""`nexus replay`: the line that it prints sends the same bytes again. A shell runs it against a server that listens."""

import json
import os
import shlex
import stat
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from accounts.ids import new_id
from nexus.cli import main
from telemetry.models import BodyRow
from telemetry.record.bodies import PIECES, compress
from telemetry.record.exchange import Exchange
from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db(transaction=True)
FAKE_KEY = "nxs_live_fake_key_of_the_replay_0001"
PLAIN = b'{"model":"m","messages":[]}'
LONG = json.dumps({"model": "m", "messages": [{"role": "user", "content": "long " * 100}] * 3}).encode()


@dataclass
class Listener:
    url: str = ""
    calls: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def listener() -> Iterator[Listener]:
    heard = Listener()

    class Handler(BaseHTTPRequestHandler):
        def _hear(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            heard.calls.append((self.command, self.path, headers, body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_POST = do_DELETE = do_HEAD = _hear

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    heard.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield heard
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def replay(name: object, *options: str) -> Result:
    return CliRunner().invoke(main, ["replay", str(name), *options])


def line_of(name: object, *options: str) -> str:
    done = replay(name, *options)
    assert done.exit_code == 0, done.output
    return done.stdout


def run(line: str) -> None:
    environment = {"PATH": os.environ["PATH"], "NEXUS_KEY": FAKE_KEY}
    subprocess.run(["bash", "-eu"], input=line.encode(), env=environment, check=True, timeout=20, capture_output=True)


def kept(request: bytes, headers: list[tuple[str, str]], **facts: Any) -> Exchange:
    one = stored_exchange(request, **facts)
    BodyRow.objects.filter(exchange_id=one.id).update(request_headers=json.dumps(headers))
    return one


@pytest.mark.parametrize(
    "body",
    [
        PLAIN,
        LONG,
        b"""{"text":"it's $HOME `id` $(id) !! \\n \\\\ \\" %s &;|<>*?[]{}~#"}""",
        b"@/etc/hostname",
        b"-d",
        b"a\nb\n\n",
        "Größe 鍵 🔑".encode(),
        b"x" * 99_999,
        b"'" * 99_999,
    ],
)
def test_a_body_of_text_travels_in_the_line(listener: Listener, here: Path, body: bytes) -> None:
    run(line_of(stored_exchange(body).id, "--url", listener.url))
    assert [call[3] for call in listener.calls] == [body]
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    "body", [b"x" * 100_000, b"\xff\xfe", b"a\0b", b"a\r\n", b"\x1b[2J", "\x9b2J".encode(), b"x" * 3_000_000]
)
def test_another_body_travels_in_a_file(listener: Listener, here: Path, body: bytes) -> None:
    row = stored_exchange(body)
    run(line_of(row.id, "--url", listener.url))
    assert [call[3] for call in listener.calls] == [body]
    (file,) = here.iterdir()
    assert file.name == f"{row.id}.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_can_be_named(listener: Listener, here: Path) -> None:
    line = line_of(stored_exchange(PLAIN).id, "--url", listener.url, "--body-file", "it's here.json")
    assert (here / "it's here.json").read_bytes() == PLAIN
    run(line)
    assert [call[3] for call in listener.calls] == [PLAIN]


def test_no_file_is_overwritten(here: Path) -> None:
    (here / "body.json").write_text("mine")
    done = replay(stored_exchange(PLAIN).id, "--body-file", "body.json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "is there already" in done.stderr
    assert (here / "body.json").read_text() == "mine"


def test_it_is_the_same_request_with_another_key(listener: Listener) -> None:
    headers = [
        ("host", "claude.example.com"),
        ("content-type", "application/json; charset=utf-8"),
        ("content-length", "999"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "a-2025-01-01,b's $HOME"),
        ("anthropic-empty", ""),
        ("accept", "text/event-stream"),
        ("user-agent", "claude-cli/1.0"),
        ("x-claude-code-session-id", "session"),
        ("cookie", "a=b"),
    ]
    row = kept(PLAIN, headers)
    line = line_of(row.id, "--url", listener.url + "/")
    assert '-H "x-api-key: $NEXUS_KEY"' in line
    assert line.count("\n") == 1
    run(line)
    ((method, path, heard, body),) = listener.calls
    assert (method, path, body) == ("POST", "/v1/messages", PLAIN)
    assert heard.pop("user-agent").startswith("curl/")
    assert heard == {
        "host": listener.url.removeprefix("http://"),
        "content-length": str(len(PLAIN)),
        "x-api-key": FAKE_KEY,
        "content-type": "application/json; charset=utf-8",
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "a-2025-01-01,b's $HOME",
        "anthropic-empty": "",
        "accept": "text/event-stream",
    }


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("GET", "/v1/models", "/v1/models"),
        ("HEAD", "/v1/models", "/v1/models"),
        ("DELETE", "/v1/files/file_01", "/v1/files/file_01"),
        ("GET", "/v1/it's [a-z] {x} ü$HOME", "/v1/it's%20%5Ba-z%5D%20%7Bx%7D%20%C3%BC$HOME"),
    ],
)
def test_a_request_without_a_body_has_none(listener: Listener, method: str, path: str, sent: str) -> None:
    run(line_of(kept(b"", [], method=method, path=path).id, "--url", listener.url))
    ((heard_method, heard_path, headers, body),) = listener.calls
    assert (heard_method, heard_path, body) == (method, sent, b"")
    assert "content-type" not in headers


def test_a_body_without_a_type_is_given_none(listener: Listener) -> None:
    run(line_of(kept(PLAIN, []).id, "--url", listener.url))
    assert "content-type" not in listener.calls[0][2]


def test_it_is_found_by_the_upstream_id_too(listener: Listener) -> None:
    stored_exchange(b"{}", upstream_request_id="req_01wanted")
    stored_exchange(PLAIN, upstream_request_id="req_01other")
    assert "--data-raw '{}'" in line_of("req_01wanted")


def test_without_a_url_it_goes_to_the_nexus_of_the_settings() -> None:
    words = shlex.split(line_of(stored_exchange(PLAIN).id))
    assert "http://127.0.0.1:8000/v1/messages" in words


def test_a_redacted_body_is_sent_with_a_warning() -> None:
    row = stored_exchange(PLAIN)
    BodyRow.objects.update(is_redacted=True)
    done = replay(row.id)
    assert done.exit_code == 0
    assert "redacted" in done.stderr
    assert done.stdout.startswith("curl ")


@pytest.mark.parametrize("name", [str(new_id()), "req_unknown", "", "x" * 500, "a\0b", "--", "' OR 1=1"])
def test_an_unknown_request_is_told(name: str) -> None:
    done = CliRunner().invoke(main, ["replay", "--", name])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "There is no request" in done.stderr


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"request_is_whole": False}, "not on record as a whole"),
        ({"request": b"no zstd"}, "cannot be read"),
        ({"codec": PIECES}, "cannot be read"),
        (
            {"codec": PIECES, "request": compress(b"\x93\xc4\x01[\xc4\x10" + b"\x07" * 16 + b"\xc4\x01]")},
            "cannot be put together",
        ),
    ],
)
def test_a_body_that_cannot_be_had_is_told(damage: dict[str, Any], said: str) -> None:
    row = stored_exchange(PLAIN)
    BodyRow.objects.update(**damage)
    done = replay(row.id)
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr


def test_a_body_that_was_not_kept_is_told() -> None:
    row = stored_exchange(PLAIN)
    BodyRow.objects.all().delete()
    done = replay(row.id)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "was not kept" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"), [(["--url", "nexus:8000"], "not the URL"), (["--body-file", "no/x"], "written")]
)
def test_an_option_that_cannot_work_is_told(options: list[str], said: str) -> None:
    done = replay(stored_exchange(PLAIN).id, *options)
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr
