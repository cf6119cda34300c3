"""The files with which clients begin."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings


@pytest.fixture
def folder(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache.clear()
    # Its windows begin at fixed moments: here none does in the middle of a test.
    monkeypatch.setattr("django_ratelimit.core.time", SimpleNamespace(time=lambda: 1_800_000_000.0))
    settings.CLIENT_SETUP = tmp_path / "client-setup"
    settings.CLIENT_SETUP.mkdir()
    return tmp_path / "client-setup"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("start.sh", "text/x-shellscript"),
        ("a.json", "application/json"),
        ("a.js", "text/javascript"),
        ("start.ps1", "text/plain; charset=utf-8"),
        ("README", "text/plain; charset=utf-8"),
    ],
)
def test_a_file_of_the_operator_is_served(client: Client, folder: Path, name: str, kind: str) -> None:
    (folder / name).write_bytes(b"hello\n")
    answer = client.get(f"/client-setup/{name}")
    assert (answer.status_code, answer.content, answer["Content-Type"]) == (200, b"hello\n", kind)
    assert answer["Cache-Control"] == "public, max-age=3600"
    assert answer["Content-Disposition"] == f'attachment; filename="{name}"'


def test_claude_code_begins_without_its_first_questions(client: Client, folder: Path) -> None:
    assert json.loads(client.get("/client-setup/.claude.json").content)["hasCompletedOnboarding"] is True
    told = json.loads(client.get("/client-setup/settings.json").content)
    assert told == {"env": {"ANTHROPIC_BASE_URL": "http://testserver"}}
    (folder / ".claude.json").write_text("{}")
    assert client.get("/client-setup/.claude.json").content == b"{}"


@pytest.mark.parametrize(
    "name", ["../nexus.db", "a/b", "..", "%2e%2e", "a%5Cb", "a%00b", "%2e%2e%2fnexus.db", "a%25b", "ä"]
)
def test_what_is_no_plain_name_is_refused(client: Client, folder: Path, name: str) -> None:
    (folder.parent / "nexus.db").write_text("secret")
    assert client.get(f"/client-setup/{name}").status_code in (400, 404)
    assert b"secret" not in client.get(f"/client-setup/{name}").content


def test_links_folders_and_large_files_are_not_served(client: Client, folder: Path) -> None:
    (folder.parent / "secret").write_text("secret")
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "inner").mkdir()
    (folder / "large").write_bytes(b"x" * 1_000_001)
    for name in ("link", "inner", "large", "nothing"):
        assert client.get(f"/client-setup/{name}").status_code == 404


def test_without_the_folder_there_is_what_nexus_makes(client: Client, settings: Settings, tmp_path: Path) -> None:
    cache.clear()
    settings.CLIENT_SETUP = tmp_path / "nowhere"
    assert client.get("/client-setup/.claude.json").status_code == 200
    assert client.get("/client-setup/other").status_code == 404


def test_an_address_may_fetch_sixty_a_minute(client: Client, folder: Path) -> None:
    answers = [client.get("/client-setup/.claude.json") for _ in range(61)]
    assert [answer.status_code for answer in answers] == [200] * 60 + [429]
    assert answers[60]["Retry-After"] == "60"
    assert Client().get("/client-setup/.claude.json", REMOTE_ADDR="203.0.113.9").status_code == 200


def test_variables_are_there_for_programs_and_shells(client: Client, tmp_path: Path) -> None:
    env, shell = (client.get(f"/client-setup/nexus.{ending}").content.decode() for ending in ("env", "sh"))
    assert "ANTHROPIC_BASE_URL=http://testserver\n" in env
    (tmp_path / "nexus.sh").write_text(shell)
    command = ". ./nexus.sh; echo $ANTHROPIC_BASE_URL $ANTHROPIC_AUTH_TOKEN"
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, input="a-fake-key\n", capture_output=True, text=True, check=True
    )
    assert done.stdout == "http://testserver a-fake-key\n"
    assert "a-fake-key" not in done.stderr
