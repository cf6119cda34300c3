"""The settings as a whole: each variable refuses what it cannot use, and production refuses what is unsafe."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from nexus import env

ROOT = Path(__file__).parents[2]
WRONG = "\u00a7 wrong \u00a7"
CHECKED = sorted(name for name, variable in env.VARIABLES.items() if variable.expected)
SECRETS = sorted(name for name, variable in env.VARIABLES.items() if variable.is_secret)


@pytest.fixture(autouse=True)
def _own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "VARIABLES", {})


def read() -> dict[str, Any]:
    """As a process that starts now would."""
    return runpy.run_path(str(ROOT / "nexus" / "settings.py"))


def refusal() -> str:
    with pytest.raises(ImproperlyConfigured) as raised:
        read()
    return str(raised.value)


def test_there_is_something_to_look_at() -> None:
    assert len(CHECKED) > 40
    assert len(SECRETS) > 10
    assert "SECRET_KEY" in read()


@pytest.mark.parametrize("name", CHECKED)
def test_a_wrong_value_is_refused_by_name_with_what_was_expected(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, WRONG)
    said = refusal()
    assert said.startswith((f"{name}=", f"{name}:"))
    assert ": use " in said
    assert (WRONG in said) == (name not in SECRETS)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_may_be_mounted_as_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "absent"))
    if os.environ.get(name):
        assert "both set" in refusal()
        return
    assert f"{name}_FILE" in refusal()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("NEXUS_SECRET_KEY", "letmein-1", "NEXUS_SECRET_KEY is too short"),
        ("NEXUS_SECRET_KEY", "abab" * 20, "NEXUS_SECRET_KEY is too short or too simple"),
        ("NEXUS_SECRET_KEY", "", "NEXUS_SECRET_KEY is not set"),
        ("NEXUS_ENCRYPTION_KEYS", "", "NEXUS_ENCRYPTION_KEYS is not set"),
        ("DASHBOARD_API_KEY", "letmein", "DASHBOARD_API_KEY is too short"),
        ("METRICS_TOKEN", "letmein", "METRICS_TOKEN is too short"),
        ("ALLOWED_HOSTS", "a.example,*", "ALLOWED_HOSTS=*"),
        ("CSRF_TRUSTED_ORIGINS", "http://nexus.example", "passwords would cross"),
        ("TRUSTED_PROXIES", "0.0.0.0/0", "anybody could say"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,::/0", "anybody could say"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL='LOUD': use debug"),
    ],
)
def test_what_is_unsafe_does_not_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str) -> None:
    monkeypatch.setenv(name, value)
    said = refusal()
    assert words in said
    assert value not in said or name not in SECRETS or not value


def test_one_secret_for_two_things_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    same = os.environ["NEXUS_ENCRYPTION_KEYS"]
    monkeypatch.setenv("NEXUS_SECRET_KEY", same)
    said = refusal()
    assert "are the same" in said
    assert same not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CSRF_TRUSTED_ORIGINS", "https://nexus.example,http://localhost:8000,http://127.0.0.1"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,192.0.2.1"),
        ("DASHBOARD_API_KEY", "0123456789abcdef"),
    ],
)
def test_what_is_fine_starts(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    read()


def test_a_laptop_may_be_careless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEBUG", "true")
    monkeypatch.setenv("NEXUS_DATA", str(tmp_path))
    monkeypatch.setenv("DASHBOARD_API_KEY", "letmein")
    read()


def test_djangos_own_check_of_a_deployment_is_clean() -> None:
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "INFO"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout
