"""The writer dies at the worst moment, or the disk is full: in processes of their own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.standin import Standin
from tests.e2e.test_lossless import rows_by_id, settled
from tests.served import serve

pytestmark = pytest.mark.e2e


def run_python(code: str, spool: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    environment = {**environment, "DJANGO_SETTINGS_MODULE": "nexus.settings"}
    command = [sys.executable, "-c", code, str(spool)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


WRITER_KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
import django; django.setup()
from accounts.ids import new_id
from telemetry.conf import RecordConf, SpoolConf
from telemetry.record.folder import Folder
from telemetry.record.recorder import Recorder
from telemetry.record.shelf import Shelf
from telemetry.record.spool import Spool
from telemetry.record.store import Store
from tests.telemetry.facts import closed

class Killed(Store):
    def __call__(self, batch, page):
        stored = super().__call__(batch, page)
        if batch:
            os.kill(os.getpid(), signal.SIGKILL)  # committed, and the spool has not heard of it
        return stored

async def main():
    root = Path(sys.argv[1])
    spool = Spool(Folder.create(root, new_id()), SpoolConf(root=root))
    recorder = Recorder(RecordConf(batch_size=25), Killed(Shelf()), spool)
    for number in range(40):
        one = closed(b"q" * number * 1000, b"a" * number)
        recording = recorder.begin()
        recording.open(one.exchange, one.bodies)
        await recording.close(one)
    recorder.start()
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_a_writer_killed_between_commit_and_delete_stores_nothing_twice(standin: Standin, tmp_path: Path) -> None:
    with serve(tmp_path, standin.url) as served:
        done = run_python(WRITER_KILLED, tmp_path / "spool", served.environment)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert len(served.rows("telemetry_exchange")) == 25, "the first batch was committed"
        assert served.run("from telemetry.tasks import adopt_spools\nprint(adopt_spools())") == "1"
        assert sorted(rows_by_id(served).values()) == [1] * 40
        assert len(served.rows("telemetry_body")) == 40
        now = settled(served)
        assert (now["accepted"], now["stored"], now["lost"]) == (40, 40, 0)


DISK_FULL = """
import asyncio, json, resource, sys
from pathlib import Path
import django; django.setup()
import telemetry.record.spool as spool_module
from accounts.ids import new_id
from telemetry.conf import RecordConf, SpoolConf
from telemetry.record.folder import Folder
from telemetry.record.ledger import Stored
from telemetry.record.recorder import Recorder
from telemetry.record.spool import Spool
from tests.telemetry.facts import closed

kept = []
def store(batch, page):
    kept.extend(batch)
    return Stored(len(kept))

async def main():
    root = Path(sys.argv[1])
    recorder = Recorder(RecordConf(), store, Spool(Folder.create(root, new_id()), SpoolConf(root=root)))
    async def some(count, size):
        for _ in range(count):
            one = closed(b"q" * size, b"a" * size)
            recording = recorder.begin()
            recording.open(one.exchange, one.bodies)
            await recording.close(one)
    await some(10, 1000)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
    await some(100, 3000)
    await some(3, 200_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    spool_module.RETRY_SECONDS = 0
    await some(10, 1000)
    recorder.start()
    recorder.stop()
    ledger = recorder.ledger()
    print(json.dumps([len(kept), ledger.gap, ledger.lost, len({one.exchange.id for one in kept})]))

asyncio.run(main())
"""


def test_a_full_disk_loses_nothing_and_is_told(tmp_path: Path) -> None:
    done = run_python(DISK_FULL, tmp_path, dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [123, 0, 0, 123]
    assert "the spool cannot be written, exchanges wait in memory" in done.stderr
    assert "the spool can be written again" in done.stderr
