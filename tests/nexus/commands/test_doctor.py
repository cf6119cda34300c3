"""`nexus doctor` in front of what is well, away, old, full, open to others, or not finished."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner
from cryptography.fernet import Fernet
from django.conf import settings as configured
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from accounts.models import Credential, Domain
from bench.standin import Standin, serve_in_thread
from nexus.cli import main
from nexus.doctor import looks
from nexus.doctor.finding import Finding, Grade
from tests.served import new_database
from tests.services import RedisServer

IS_CLUSTER = bool(os.environ.get("DATABASE_URL"))
ON_POSTGRES = pytest.mark.skipif(not IS_CLUSTER, reason="it is about PostgreSQL and Redis")
PARTS = {
    *("database", "cache", "limits", "channel layer", "broker", "spool", "data", "static files"),
    *("encryption", "Claude API", "background work", "safety"),
}


@pytest.fixture(scope="module")
def standin() -> Iterator[Standin]:
    with serve_in_thread() as served:
        yield served


def doctor(*options: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "nexus", "doctor", *options]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=60)


def sentences(found: Finding) -> str:
    return " ".join(advice.sentence for advice in found.advices)


def test_a_new_installation_is_told_apart_part_by_part(standin: Standin, tmp_path: Path) -> None:
    """Nothing of it is migrated yet: that is to be mended, and the only thing."""
    own = {"DATABASE_URL": new_database()} if IS_CLUSTER else {}
    done = doctor("--json", NEXUS_DATA=str(tmp_path), CLAUDE_API_BASE_URL=standin.url, **own)
    found = {each["part"]: each for each in json.loads(done.stdout)}
    assert set(found) == PARTS
    assert ("PostgreSQL" if IS_CLUSTER else "SQLite") in found["database"]["mode"]
    for part in ("cache", "limits", "channel layer", "broker"):
        assert ("Redis at 127.0.0.1" if IS_CLUSTER else "memory") in found[part]["mode"]
    assert found["Claude API"]["response_ms"] >= 0
    failed = [part for part, each in found.items() if each["status"] == "problem"]
    assert (failed, done.returncode) == ((["database"], 1) if IS_CLUSTER else ([], 0))
    if IS_CLUSTER:
        assert "Run `nexus migrate`" in found["database"]["advice"][0]["sentence"]
    else:
        assert doctor("--strict", NEXUS_DATA=str(tmp_path), CLAUDE_API_BASE_URL=standin.url).returncode == 1


def test_what_is_away_is_told_without_its_password(tmp_path: Path) -> None:
    away = {
        "DATABASE_URL": "postgres://someone:s3cret-word-1@127.0.0.1:1/nexus",
        "REDIS_URL": "redis://:s3cret-word-2@127.0.0.1:1/0",
        "CLAUDE_API_BASE_URL": "http://127.0.0.1:1",
    }
    done = doctor(NEXUS_DATA=str(tmp_path), **away)
    assert done.returncode == 1
    assert done.stdout.count("FAIL") == 3
    assert "127.0.0.1:1/nexus" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_configuration_that_cannot_work_is_code_2() -> None:
    done = doctor(PORT="eighty")
    assert done.returncode == 2
    assert "PORT='eighty': use a whole number" in done.stderr


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_up_to_date_is_well() -> None:
    (found,) = looks.database()
    assert found.grade is Grade.OK, sentences(found)
    assert found.response_ms is not None


@ON_POSTGRES
@pytest.mark.django_db(transaction=True)
def test_too_few_connections_are_told(settings: Settings) -> None:
    settings.DB_POOL_SIZE = 10_000
    (found,) = looks.database()
    assert "Raise max_connections" in sentences(found)


def test_redis_is_looked_at(tmp_path: Path, settings: Settings) -> None:
    server = RedisServer(tmp_path)
    server.start()
    try:
        settings.REDIS_URL, settings.DATABASE_URL = server.url, "postgres://db/nexus"
        first = looks.shared()[0]
        assert first.grade is Grade.WARNING
        assert "writes nothing to disk" in sentences(first)
        client = redis.Redis.from_url(server.url)
        client.config_set("save", "60 1")
        assert looks.shared()[0].grade is Grade.OK
        client.config_set("maxmemory-policy", "allkeys-lru")
        first = looks.shared()[0]
        assert first.grade is Grade.PROBLEM
        assert "Set noeviction" in sentences(first)
        client.close()
    finally:
        server.stop()


def test_clocks_that_differ_are_told() -> None:
    found = Finding("x", "x")
    looks._tell_clock(found, datetime.now(UTC))
    assert not found.advices
    looks._tell_clock(found, datetime.now(UTC) - timedelta(seconds=5))
    assert "5.0 s apart" in sentences(found)


def test_a_spool_that_cannot_be_written_is_told(tmp_path: Path, settings: Settings) -> None:
    conf: Any = configured.RECORD
    blocked = tmp_path / "spool"
    blocked.write_text("a file")
    settings.RECORD = dataclasses.replace(conf, spool=dataclasses.replace(conf.spool, root=blocked))
    (found,) = looks.spool()
    assert found.grade is Grade.PROBLEM
    full = dataclasses.replace(conf.spool, root=tmp_path / "other", max_bytes=10**18)
    settings.RECORD = dataclasses.replace(conf, spool=full)
    (found,) = looks.spool()
    assert "NEXUS_SPOOL_MAX_BYTES" in sentences(found)


def test_files_that_others_may_read_are_told(tmp_path: Path, settings: Settings) -> None:
    settings.NEXUS_DATA = tmp_path
    tmp_path.chmod(0o700)
    assert looks.files()[0].grade is Grade.OK
    tmp_path.chmod(0o755)
    assert f"chmod go= {tmp_path}" in sentences(looks.files()[0])
    settings.STATIC_ROOT = str(tmp_path / "absent")
    assert looks.files()[1].grade is Grade.PROBLEM


@pytest.mark.django_db(transaction=True)
def test_secrets_are_tried_with_the_keys(settings: Settings) -> None:
    domain = Domain.objects.create(host="doctor.example")
    Credential.objects.create(domain=domain, name="a", secret="sk-ant-api03-fake-key-for-the-doctor-0000")
    (found,) = looks.encryption()
    assert found.grade is Grade.OK, sentences(found)
    settings.NEXUS_ENCRYPTION_KEYS = f"{Fernet.generate_key().decode()},{settings.NEXUS_ENCRYPTION_KEYS}"
    (found,) = looks.encryption()
    assert (found.grade, "nexus rotate-keys" in sentences(found)) == (Grade.WARNING, True)
    settings.NEXUS_ENCRYPTION_KEYS = Fernet.generate_key().decode()
    (found,) = looks.encryption()
    assert found.grade is Grade.PROBLEM
    assert "read with none of the keys" in sentences(found)


def test_plain_http_to_the_api_is_told(settings: Settings) -> None:
    conf: Any = configured.UPSTREAM
    settings.UPSTREAM = dataclasses.replace(conf, base_url="http://api.invalid")
    (found,) = looks.claude_api()
    assert "plain http" in sentences(found)


def test_a_look_that_breaks_is_one_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[Finding]:
        raise ImproperlyConfigured("sk-ant-api03-fake-key-that-must-not-show-0000 is wrong")

    monkeypatch.setattr(looks, "LOOKS", {"one": broken, "files": looks.files})
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 1
    assert "It cannot be looked at" in done.output
    assert "must-not-show" not in done.output
    assert "static files" in done.output
