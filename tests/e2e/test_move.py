"""`nexus move-to-postgres`: a laptop's installation becomes a server's, or stays as it is."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from cryptography.fernet import Fernet

from bench.standin import Standin
from tests import rawhttp
from tests.e2e.pools import ask
from tests.load import MESSAGES
from tests.served import Served, eventually, migrated_on_postgres, migrated_on_sqlite, new_database, serve

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not os.environ.get("DATABASE_URL"), reason="it needs a PostgreSQL to move to"),
]

EVERYTHING = """
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from decimal import Decimal
from telemetry.models import Incident, Webhook
domain = Domain.objects.get()
other = Domain.objects.create(host='other.example.com')
new = Credential.objects.create(domain=domain, name='new', owner='Grace', secret='sk-ant-api03-fake-of-a-move-0001')
old = Credential.objects.create(domain=domain, name='old', owner='Grace', secret='sk-ant-api03-fake-of-a-move-0002')
old.shared_with.add(other)
Credential.objects.filter(pk=new.pk).update(replaces=old)  # a row that points to a later one
grace = User.objects.create_user('grace', 'grace@example.com', 'a-fake-password')
Membership.objects.create(user=grace, domain=domain)
Budget.objects.create(domain=domain, period='month', amount_usd=Decimal('12.3400'))
Webhook.objects.create(name='hook \\x00', url='https://hooks.example.com/x', secret='a-fake-webhook-secret')
LogEntry.objects.log_actions(grace.pk, [domain], 2, 'changed')
"""
ANOTHER_MEMBER = """
from django.contrib.auth.models import User
print(Membership.objects.create(user=User.objects.create_user('ada'), domain=Domain.objects.first()).pk)
"""
TABLES = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '%_trigram%'"
)


def move(data: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "nexus", "move-to-postgres", *arguments]
    environment = {**os.environ, "NEXUS_DATA": str(data), **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@contextlib.contextmanager
def on_a_laptop(data: Path, standin: Standin) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL")
        patch.delenv("REDIS_URL")
        with serve(data, standin.url) as served:
            yield served


def counts_of(path: Path) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        names = [name for (name,) in database.execute(TABLES)]
        return {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}


def counts_at(url: str, names: list[str]) -> dict[str, int]:
    found = {}
    with psycopg.connect(url) as database:
        for name in names:
            row = database.execute(f"SELECT count(*) FROM {name}").fetchone()
            assert row is not None
            found[name] = row[0]
    return found


def test_all_of_it_moves_and_serves_on(standin: Standin, tmp_path: Path) -> None:
    """Also what a killed process left in its spool: the next one stores it in the new place."""
    with on_a_laptop(tmp_path, standin) as laptop:
        laptop.run(EVERYTHING)
        stored = ask(laptop, prompt="To be moved ☂").header("x-nexus-request-id")
        before = laptop.exchange(stored)
        body = laptop.bodies_of(stored)
        with rawhttp.connection(laptop.port) as opened:
            content = (
                b'{"model":"claude-haiku-4-5","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"%b"}]}'
            )
            content %= b"[[standin silent_at=2 key=move]]"
            headers = [("x-api-key", laptop.key), ("anthropic-version", "2023-06-01")]
            opened.sendall(rawhttp.head("POST", MESSAGES, headers, len(content)) + content)
            assert opened.recv(64)  # the head: it is in the spool, and not in the database
            laptop.stop(signal.SIGKILL)
        key = laptop.key
    there = counts_of(tmp_path / "nexus.db")
    assert there["telemetry_exchange"] == 1
    url = new_database()

    looked = move(tmp_path, "--dry-run", DATABASE_URL=url)
    assert (looked.returncode, looked.stderr) == (0, "")
    assert "1  telemetry_exchange" in looked.stdout
    with psycopg.connect(url) as database:
        assert database.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)

    moved = move(tmp_path, DATABASE_URL=url)
    assert moved.returncode == 0, moved.stderr
    total = sum(there.values()) - there["django_migrations"]
    assert f"{total:,} rows were moved and compared" in moved.stdout
    assert "1 spools in" in moved.stdout
    assert "telemetry_exchange: 1 of 1" in moved.stderr
    assert counts_at(url, list(there)) == there
    assert counts_of(tmp_path / "nexus.db") == there, "the file is as it was"

    with serve(tmp_path, standin.url, database_url=url) as server:
        server.key = key
        after = server.exchange(stored)
        assert after["input_tokens"] == before["input_tokens"] > 0
        assert float(after["cost"]) == before["cost"] > 0
        assert server.bodies_of(stored) == body
        assert eventually(lambda: [row for row in server.rows("telemetry_exchange") if row["outcome"] == "interrupted"])
        assert ask(server).status == 200
        assert server.run("print(*Credential.objects.order_by('name').values_list('replaces__name', 'secret'))")
        facts = "print(Credential.objects.get(name='new').replaces, Credential.objects.get(name='old').secret)"
        assert server.run(facts).endswith("sk-ant-api03-fake-of-a-move-0002")
        assert server.run("from telemetry.models import Webhook; print(Webhook.objects.get().name)") == "hook"
        assert server.run(ANOTHER_MEMBER) == "2", "numbers go on where they were"
        assert "differ" in server.nexus("verify-rollups")
        page = httpx.get(f"{server.url}/readyz", trust_env=False)
        assert page.status_code == 200


@pytest.fixture
def laptop_data(tmp_path: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL")
        patch.delenv("REDIS_URL")
        shutil.copy(migrated_on_sqlite(), tmp_path / "nexus.db")
        run = "import django; django.setup()\nfrom nexus import firstrun; firstrun.ensure()"
        environment = {**os.environ, "NEXUS_DATA": str(tmp_path), "DJANGO_SETTINGS_MODULE": "nexus.settings"}
        subprocess.run([sys.executable, "-c", run], env=environment, check=True)
    return tmp_path


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM django_migrations WHERE name = '0013_days'", "older than this version"),
        ("INSERT INTO django_migrations (app, name, applied) VALUES ('telemetry', '9999_x', '')", "newer version"),
        (f"UPDATE auth_user SET first_name = '{'x' * 151}'", "first_name has 151 characters, and PostgreSQL takes 150"),
        ("UPDATE accounts_domain SET created_at = 'yesterday'", "null value in column"),
        ("INSERT INTO django_session VALUES ('a', 'b', '2026-01-01 00:00:00')", ""),
        ("UPDATE accounts_clientkey SET domain_id = '0198c0de000070008000000000000001'", "accounts_clientkey"),
    ],
)
def test_what_does_not_fit_moves_nothing(laptop_data: Path, statement: str, words: str) -> None:
    """The last but one does fit: so the others would have come that far."""
    with contextlib.closing(sqlite3.connect(laptop_data / "nexus.db", isolation_level=None)) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute(statement)
    url = new_database(template=migrated_on_postgres())
    done = move(laptop_data, DATABASE_URL=url)
    assert "Traceback" not in done.stderr
    if not words:
        assert done.returncode == 0
        return
    assert done.returncode == 1
    assert words in done.stderr
    assert "Nothing was moved." in done.stderr
    with psycopg.connect(url) as database:
        assert database.execute("SELECT count(*) FROM auth_user").fetchone() == (0,)


def test_a_source_that_cannot_be_is_named(tmp_path: Path, laptop_data: Path) -> None:
    url = new_database(template=migrated_on_postgres())
    nothing = move(tmp_path / "nowhere", DATABASE_URL=url)
    assert (nothing.returncode, "is not there" in nothing.stderr) == (1, True)
    (tmp_path / "garbage.db").write_bytes(b"not a database" * 1000)
    garbage = move(tmp_path, "--from", str(tmp_path / "garbage.db"), DATABASE_URL=url)
    assert (garbage.returncode, "is not a database of Nexus" in garbage.stderr) == (1, True)
    with contextlib.closing(sqlite3.connect(laptop_data / "nexus.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        held = move(laptop_data, DATABASE_URL=url)
    assert (held.returncode, "Stop whatever uses it" in held.stderr) == (1, True)


def test_a_target_that_cannot_be_is_named(laptop_data: Path) -> None:
    assert move(laptop_data, DATABASE_URL="").returncode == 2
    away = move(laptop_data, DATABASE_URL="postgres://u:s3cret@127.0.0.1:1/x")
    assert (away.returncode, "cannot be reached" in away.stderr, "s3cret" in away.stderr) == (2, True, False)
    url = new_database(template=migrated_on_postgres())
    assert move(laptop_data, DATABASE_URL=url).returncode == 0
    again = move(laptop_data, DATABASE_URL=url)
    assert (again.returncode, "is in use" in again.stderr) == (1, True)


def test_keys_that_do_not_read_the_secrets_move_nothing(laptop_data: Path) -> None:
    url = new_database(template=migrated_on_postgres())
    done = move(laptop_data, DATABASE_URL=url, NEXUS_ENCRYPTION_KEYS=Fernet.generate_key().decode())
    assert done.returncode == 2
    assert "NEXUS_ENCRYPTION_KEYS cannot read" in done.stderr
    with psycopg.connect(url) as database:
        assert database.execute("SELECT count(*) FROM auth_user").fetchone() == (0,)


def test_a_nexus_that_serves_is_not_moved(standin: Standin, tmp_path: Path) -> None:
    url = new_database(template=migrated_on_postgres())
    with on_a_laptop(tmp_path, standin):
        done = move(tmp_path, DATABASE_URL=url)
    assert (done.returncode, "stop it first" in done.stderr) == (1, True)
