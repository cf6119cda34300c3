"""What a process that was killed leaves in its spool is stored by another, once."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from accounts.ids import new_id
from telemetry.conf import SpoolConf
from telemetry.record.adoption import INTERRUPTED, StoreAway, adopt
from telemetry.record.exchange import Bodies, Closed, Exchange, Outcome
from telemetry.record.folder import SET_ASIDE, Folder, folders
from telemetry.record.ledger import Page, Stored
from telemetry.record.spool import Spool
from tests.telemetry.facts import closed


class Kept:
    """A store of one process: idempotent, as the database is."""

    def __init__(self) -> None:
        self.by_id: dict[UUID, Closed] = {}
        self.pages: list[Page] = []

    def __call__(self, batch: Sequence[Closed], page: Page) -> Stored:
        for each in batch:
            self.by_id.setdefault(each.exchange.id, each)
        self.pages.append(page)
        return Stored(len(self.by_id))


def new_spool(root: Path, **changes: int) -> tuple[Spool, Folder]:
    folder = Folder.create(root, new_id())
    return Spool(folder, SpoolConf(root=root, **changes)), folder


def asked(one: Closed) -> Closed:
    """As it is known when it opens."""
    exchange = msgspec.structs.replace(one.exchange, outcome=Outcome.INTERRUPTED, error_message="")
    assert one.bodies is not None
    return Closed(exchange, msgspec.structs.replace(one.bodies, response=[], response_headers=[]))


def test_a_spool_whose_owner_lives_is_left_alone(tmp_path: Path) -> None:
    spool, _ = new_spool(tmp_path)
    one = closed()
    spool.close(None, one)
    assert adopt(tmp_path, kept := Kept()) == []
    assert not kept.by_id
    spool.stop()


def test_ends_and_interrupted_ones_are_stored_and_the_spool_is_gone(tmp_path: Path) -> None:
    spool, folder = new_spool(tmp_path, segment_max_entries=4)
    ended = [closed(b"q%d" % number, b"a%d" % number) for number in range(10)]
    for one in ended:
        spool.close(spool.open(*_parts(asked(one))), one)
        spool.tidy()
    large = closed(b"q" * 100_000, b"a" * 100_000)
    entry = spool.open(*_parts(asked(large)))
    assert large.bodies is not None
    spool.write_request(entry, large.bodies.request)
    spool.close(entry, large)
    running = [asked(closed(b"still running")), asked(closed(b"q" * 70_000))]
    entries = [spool.open(*_parts(one)) for one in running]
    assert running[1].bodies is not None
    spool.write_request(entries[1], running[1].bodies.request)
    _die(folder)

    (adopted,) = adopt(tmp_path, kept := Kept())
    assert (adopted.ended, adopted.interrupted, adopted.unreadable) == (11, 2, 0)
    for one in (*ended, large):
        assert (kept.by_id[one.exchange.id].exchange, kept.by_id[one.exchange.id].bodies) == (one.exchange, one.bodies)
    for one in running:
        found = kept.by_id[one.exchange.id]
        assert (found.exchange.outcome, found.exchange.error_message) == (Outcome.INTERRUPTED, INTERRUPTED)
        assert found.bodies == one.bodies
    last = kept.pages[-1]
    assert (last.accepted, last.in_flight, last.spooled, last.ended_at is None) == (13, 0, 0, False)
    assert list(folders(tmp_path)) == []
    assert adopt(tmp_path, kept) == []


def test_one_that_opened_in_one_file_and_ended_in_another_is_not_interrupted(tmp_path: Path) -> None:
    spool, folder = new_spool(tmp_path, segment_max_entries=2)
    long_runner = closed(b"asked early")
    entry = spool.open(*_parts(asked(long_runner)))
    for _ in range(5):
        spool.close(None, closed())
        spool.tidy()
    spool.close(entry, long_runner)
    _die(folder)
    (adopted,) = adopt(tmp_path, kept := Kept())
    assert (adopted.ended, adopted.interrupted) == (6, 0)
    assert kept.by_id[long_runner.exchange.id].exchange.outcome is Outcome.COMPLETED


def test_a_damaged_file_is_set_aside_and_the_others_are_stored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool, folder = new_spool(tmp_path, segment_max_entries=2)
    for _ in range(6):
        spool.close(None, closed())
        spool.tidy()
    _die(folder)
    (path,) = folders(tmp_path)
    victim = sorted(path.glob("*.db"))[1]
    victim.with_name(victim.name + "-wal").unlink(missing_ok=True)
    victim.write_bytes(b"SQLite format 3\0" + os.urandom(4096 * 3))
    (adopted,) = adopt(tmp_path, kept := Kept())
    assert adopted.ended == 4
    assert adopted.unreadable > 0
    assert len(kept.by_id) == 4
    assert [path.name for path in (tmp_path / SET_ASIDE).iterdir()] == [folder.path.name]
    assert "set aside" in caplog.text
    # What is missing is seen: six were accepted.
    assert kept.pages[-1].accepted - len(kept.by_id) == 2
    assert adopt(tmp_path, kept) == []


def test_a_failing_database_leaves_everything_for_the_next_time(tmp_path: Path) -> None:
    spool, folder = new_spool(tmp_path)
    spool.close(None, closed())
    _die(folder)

    def away(batch: Sequence[Closed], page: Page) -> Stored:
        raise ConnectionError

    with pytest.raises(StoreAway):
        adopt(tmp_path, away)
    assert len(adopt(tmp_path, kept := Kept())) == 1
    assert len(kept.by_id) == 1


def test_what_is_not_a_spool_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "readme.txt").write_text("mine")
    (tmp_path / str(new_id())).write_text("a file with the name of a process")
    assert adopt(tmp_path / "nowhere", Kept()) == []
    assert adopt(tmp_path, Kept()) == []


KILLED = """
import os, signal, sys, time
from pathlib import Path
import django; django.setup()
from accounts.ids import new_id
from telemetry.conf import SpoolConf
from telemetry.record.folder import Folder
from telemetry.record.spool import Spool
from tests.telemetry.facts import closed
root = Path(sys.argv[1])
spool = Spool(Folder.create(root, new_id()), SpoolConf(root=root))
for number in range(300):
    one = closed(b"q" * number, b"a" * number)
    entry = spool.open(one.exchange, one.bodies)
    if number % 3:
        spool.close(entry, one)
    print(one.exchange.id, number % 3 > 0, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_every_entry_of_a_process_that_was_killed_is_there_once(tmp_path: Path) -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "nexus.settings"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    written = dict(line.split() for line in done.stdout.splitlines())
    assert len(written) == 300
    (adopted,) = adopt(tmp_path, kept := Kept())
    assert (adopted.ended, adopted.interrupted) == (200, 100)
    assert {str(one) for one in kept.by_id} == set(written)


def test_two_that_adopt_at_once_do_not_meet(tmp_path: Path) -> None:
    spool, folder = new_spool(tmp_path)
    spool.close(None, closed())
    _die(folder)
    (path,) = folders(tmp_path)
    mine = Folder.claim(path)
    assert mine is not None
    assert Folder.claim(path) is None
    mine.remove()
    assert Folder.claim(path) is None


def _parts(one: Closed) -> tuple[Exchange, Bodies | None]:
    return one.exchange, one.bodies


def _die(folder: Folder) -> None:
    """As far as others can see: the lock is free, nothing is tidied. (The tests of a served Nexus really kill it.)"""
    folder.release()


def test_the_memory_of_a_dead_process_is_not_needed(tmp_path: Path) -> None:
    """SQLite's shared memory file may be gone after a restart of the machine."""
    spool, folder = new_spool(tmp_path)
    spool.close(None, closed())
    _die(folder)
    (path,) = folders(tmp_path)
    for shared in path.glob("*-shm"):
        shared.unlink()
    (adopted,) = adopt(tmp_path, Kept())
    assert adopted.ended == 1


def test_one_that_a_newer_version_wrote_is_set_aside_and_counted(tmp_path: Path) -> None:
    spool, folder = new_spool(tmp_path)
    spool.close(None, closed())
    spool.close(None, odd := closed())
    with sqlite3.connect(folder.path / "00000001.db") as edit:
        (facts,) = edit.execute("SELECT facts FROM closed WHERE n = 2").fetchone()
        edit.execute("UPDATE closed SET facts = ? WHERE n = 2", (facts.replace(b"completed", b"tomorrow!"),))
    edit.close()
    _die(folder)
    (adopted,) = adopt(tmp_path, kept := Kept())
    assert (adopted.ended, adopted.unreadable, kept.pages[-1].lost) == (1, 1, 1)
    assert odd.exchange.id not in kept.by_id
    assert (tmp_path / SET_ASIDE / folder.path.name / "00000001.db").exists()


def test_a_spool_that_cannot_be_opened_holds_up_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    odd = tmp_path / str(UUID(int=1))
    (odd / "lock").mkdir(parents=True)
    spool, folder = new_spool(tmp_path)
    spool.close(None, closed())
    _die(folder)
    assert len(adopt(tmp_path, Kept())) == 1
    assert "cannot be adopted now" in caplog.text


def test_a_process_killed_while_it_made_a_file_leaves_no_damage(tmp_path: Path) -> None:
    spool, folder = new_spool(tmp_path)
    spool.close(None, closed())
    with sqlite3.connect(folder.path / "00000009.db") as nascent:
        nascent.execute("PRAGMA journal_mode=WAL")
    nascent.close()
    (folder.path / "00000008.db").touch()
    _die(folder)
    (adopted,) = adopt(tmp_path, Kept())
    assert (adopted.ended, adopted.unreadable) == (1, 0)


def test_what_is_open_in_files_is_adopted_in_batches_that_memory_can_hold(tmp_path: Path) -> None:
    spool, folder = new_spool(tmp_path)
    for _ in range(12):
        large = asked(closed(b"q" * 3_000_000))
        entry = spool.open(*_parts(large))
        assert large.bodies is not None
        spool.write_request(entry, large.bodies.request)
    _die(folder)
    batches: list[int] = []

    def store(batch: Sequence[Closed], page: Page) -> Stored:
        batches.append(sum(each.bodies.size_bytes for each in batch if each.bodies))
        return Stored(0)

    adopt(tmp_path, store)
    assert sum(batches) > 36_000_000
    assert max(batches) < 20_000_000


def test_leftovers_of_an_hour_ago_are_swept(tmp_path: Path) -> None:
    for name in (".new-1", ".gone-2"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / ".new-fresh").mkdir()
    adopt(tmp_path, Kept())
    assert [path.name for path in tmp_path.iterdir()] == [".new-fresh"]
