"""`nexus rotate-keys` and `nexus rotate-client-key`, as an operator runs them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.standin import serve_in_thread
from tests.e2e.pools import ask
from tests.served import Served, eventually, serve


def nexus(served: Served, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "nexus", *arguments]
    return subprocess.run(command, env=served.environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A laptop's, with a key file. It has stopped."""
    folder = tmp_path_factory.mktemp("rotation")
    own_keys = {"DEBUG": "true", "NEXUS_ENCRYPTION_KEYS": "", "NEXUS_SECRET_KEY": ""}
    with serve_in_thread() as standin, serve(folder, standin.url, **own_keys) as nexus_:  # type: ignore[arg-type]
        refused = nexus(nexus_, "rotate-keys", "--new-key")
        assert refused.returncode == 1
        assert "stop it first" in refused.stderr
        nexus_.stop()
    return nexus_


@pytest.mark.once
def test_a_laptop_gets_a_new_key_and_the_old_one_goes(served: Served) -> None:
    path = served.data / "keys.json"
    old = json.loads(path.read_text())["encryption_keys"]
    done = nexus(served, "rotate-keys", "--new-key")
    assert done.returncode == 0, done.stderr
    new = json.loads(path.read_text())["encryption_keys"]
    assert new != old
    assert "," not in new
    assert old not in done.stdout + done.stderr
    assert (path.stat().st_mode & 0o777) == 0o600
    checked = nexus(served, "rotate-keys", "--check")
    assert (checked.returncode, checked.stdout) == (0, "Key 1, which encrypts: 1 secrets.\n")


def test_a_dropped_key_keeps_it_from_starting(served: Served) -> None:
    path = served.data / "keys.json"
    kept = path.read_text()
    served.run("Credential.objects.create(domain=Domain.objects.get(), name='x', secret='sk-ant-api03-fake-0000-0001')")
    code = (
        "from django.db import connection\nfrom cryptography.fernet import Fernet\n"
        "lost = 'v1:' + Fernet(Fernet.generate_key()).encrypt(b'x').decode()\n"
        "connection.cursor().execute('UPDATE accounts_credential SET secret = %s', [lost])"
    )
    served.run(code)
    for command in (("serve", "--port", "0"), ("rotate-keys", "--check")):
        done = nexus(served, *command)
        assert done.returncode in (1, 2)
        assert "accounts.Credential" in done.stdout + done.stderr
    assert path.read_text() == kept


def test_a_grace_that_is_none_is_told(served: Served) -> None:
    assert "30m, 24h, 7d" in nexus(served, "rotate-client-key", "first key", "--grace", "soon").stderr


def test_a_rotated_key_reaches_the_process_that_serves(tmp_path: Path) -> None:
    with serve_in_thread() as standin, serve(tmp_path, standin.url) as running:
        old = running.key
        done = nexus(running, "rotate-client-key", "first key", "--grace", "1h")
        running.key = done.stdout.strip()
        assert "good until" in done.stderr
        eventually(lambda: ask(running).status == 200, seconds=3)
        running.key = old
        answer = ask(running)
        assert answer.status == 200
        row = running.exchange(answer.header("x-nexus-request-id"))
        assert row["by_previous_secret"]
        running.run("from telemetry.tasks import note_last_use\nnote_last_use()")
        assert running.rows("accounts_clientkey")[0]["previous_used_at"]
        running.run("ClientKey.objects.get().end_previous()")
        eventually(lambda: ask(running).status == 401, seconds=3)
