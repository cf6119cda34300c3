"""What a first run makes, and what the commands say."""

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.fernet import Fernet
from django.contrib.auth import authenticate
from django.core.exceptions import ImproperlyConfigured

from accounts.keys import KeyRing
from accounts.models import ClientKey, Domain
from accounts.register import load
from nexus import firstrun, keyfile
from nexus.cli import main

ROOT = Path(__file__).parent.parent.parent


def test_the_key_file_is_for_its_owner_alone_and_stays(tmp_path: Path) -> None:
    keys = keyfile.ensure(tmp_path / "data")
    file = tmp_path / "data" / "keys.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    Fernet(keys["encryption_keys"]).encrypt(b"usable")
    assert keyfile.ensure(tmp_path / "data") == keys
    assert [path.name for path in file.parent.iterdir()] == ["keys.json"]


def test_those_who_start_together_agree_on_the_keys(tmp_path: Path) -> None:
    for attempt in range(10):
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(keyfile.ensure, [tmp_path / str(attempt)] * 8))
        assert len({keys["secret_key"] for keys in found}) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"secret_key": "x"}'])
def test_a_broken_key_file_is_told_and_not_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(ImproperlyConfigured, match=r"keys\.json"):
        keyfile.ensure(tmp_path)
    assert (tmp_path / "keys.json").read_text() == content


def test_a_first_run_makes_what_a_user_needs_once(db: None) -> None:
    made = firstrun.ensure()
    user = authenticate(username="admin", password=made.admin_password)
    assert user is not None
    snapshot = load()
    assert KeyRing(lambda: snapshot).authenticate(made.client_key, "localhost:8000").domain.host == "localhost"
    assert made.client_key not in repr(made)
    assert firstrun.ensure() == firstrun.Made()
    assert (Domain.objects.count(), ClientKey.objects.count()) == (1, 1)


def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """The command in an environment that has nothing of Nexus but what is given."""
    environment = {"PATH": os.environ["PATH"], **variables}
    command = [sys.executable, "-m", "nexus", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, cwd=ROOT)


@pytest.mark.parametrize("command", [[], ["serve"], ["demo"], ["worker"], ["issue-key"], ["generate-secret"]])
def test_help_needs_no_settings(command: list[str]) -> None:
    done = run(*command, "--help")
    assert done.returncode == 0
    assert "Usage: " in done.stdout


@pytest.mark.parametrize("missing", ["NEXUS_ENCRYPTION_KEYS", "NEXUS_SECRET_KEY"])
def test_outside_debug_it_invents_no_secret(tmp_path: Path, missing: str) -> None:
    secrets = {"NEXUS_ENCRYPTION_KEYS": Fernet.generate_key().decode(), "NEXUS_SECRET_KEY": "x" * 50}
    del secrets[missing]
    done = run("serve", NEXUS_DATA=str(tmp_path), **secrets)
    assert done.returncode == 2
    assert f"nexus generate-secret {missing}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_several_workers_need_shared_state(tmp_path: Path) -> None:
    done = run("serve", "--workers", "2", "--port", "0", DEBUG="true", NEXUS_DATA=str(tmp_path))
    assert done.returncode == 2
    assert "REDIS_URL and DATABASE_URL" in done.stderr


@pytest.mark.parametrize("command", ["worker", "beat"])
def test_a_worker_of_its_own_needs_redis(tmp_path: Path, command: str) -> None:
    done = run(command, DEBUG="true", NEXUS_DATA=str(tmp_path))
    assert done.returncode == 2
    assert "REDIS_URL" in done.stderr


def test_generated_secrets_are_new_and_usable() -> None:
    runner = CliRunner()
    made = [runner.invoke(main, ["generate-secret", "NEXUS_ENCRYPTION_KEYS"]).output.strip() for _ in range(2)]
    assert made[0] != made[1]
    for key in made:
        Fernet(key).encrypt(b"usable")
    assert len(runner.invoke(main, ["generate-secret", "NEXUS_SECRET_KEY"]).output.strip()) > 50


@pytest.mark.django_db
def test_a_key_is_issued_alone_on_standard_output() -> None:
    runner = CliRunner()
    missing = runner.invoke(main, ["issue-key", "--domain", "new.example.com", "--name", "x"])
    assert missing.exit_code == 1
    assert "--create-domain" in missing.output
    done = runner.invoke(main, ["issue-key", "--domain", "new.example.com", "--name", "x", "--create-domain"])
    snapshot = load()
    assert KeyRing(lambda: snapshot).authenticate(done.output.strip(), "").name == "x"
    bad = runner.invoke(main, ["issue-key", "--domain", "../etc", "--name", "x", "--create-domain"])
    assert bad.exit_code == 1
    assert not Domain.objects.filter(host="../etc").exists()


def test_the_documentation_lists_every_variable() -> None:
    table = CliRunner().invoke(main, ["variables"]).output
    assert table.strip() in (ROOT / "docs" / "configuration.md").read_text()
    assert "NEXUS_ENCRYPTION_KEYS" in table


def test_the_packages_of_the_tests_name_no_registry() -> None:
    lock = json.loads((ROOT / "tests" / "e2e" / "package-lock.json").read_text())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
