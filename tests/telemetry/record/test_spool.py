"""The spool when things go wrong under it, and what it costs the event loop."""

import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import pytest

from accounts.ids import new_id
from telemetry.conf import RecordConf, SpoolConf
from telemetry.record.adoption import adopt
from telemetry.record.exchange import Closed
from telemetry.record.folder import SET_ASIDE, Folder
from telemetry.record.ledger import Page, Stored
from telemetry.record.recorder import Recorder
from telemetry.record.segment import IN_ROW
from telemetry.record.spool import Spool
from tests.served import eventually
from tests.telemetry.facts import closed
from tests.telemetry.record.test_recorder import QUICK, FakeStore, record

pytestmark = pytest.mark.anyio
ENTRY_MAX_SECONDS = 300e-6
"""Three times what is promised: a test runs on any machine beside any other work. The notes have the p99."""


def new_spool(root: Path, **changes: Any) -> tuple[Spool, Folder]:
    folder = Folder.create(root, new_id())
    return Spool(folder, replace(SpoolConf(root=root), **changes)), folder


async def test_a_file_that_is_damaged_under_a_living_process_is_set_aside_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool, folder = new_spool(tmp_path, memory_max_bytes=0, segment_max_entries=10)
    recorder = Recorder(QUICK, store := FakeStore(), spool)
    await record(recorder, *(closed() for _ in range(5)))
    spool.tidy()
    await record(recorder, *(closed() for _ in range(5)))
    (first,) = sorted(folder.path.glob("*1.db"))
    with first.open("r+b") as file:
        file.write(b"no database at all " * 50)
    first.with_name(first.name + "-wal").write_bytes(b"nor a log " * 5000)
    recorder.start()
    with caplog.at_level(logging.ERROR):
        await record(recorder, survivor := closed())
        recorder.stop()
    assert survivor.exchange in [each.exchange for each in store.kept]
    ledger = recorder.ledger()
    assert ledger.gap == ledger.lost > 0
    assert ledger.gap == 11 - len(store.kept)
    assert f"{ledger.lost} exchanges are lost in a damaged spool file" in caplog.text
    assert len(list((tmp_path / SET_ASIDE).glob("*.db"))) == 1


async def test_a_folder_that_disappears_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool, folder = new_spool(tmp_path, segment_max_entries=3)
    recorder = Recorder(QUICK, store := FakeStore(), spool)
    await record(recorder, closed())
    shutil.rmtree(folder.path)
    recorder.start()
    many = [closed(b"q" * size, b"a" * size) for size in (10, 30_000, 10, 10, 50_000, 10, 10, 10)]
    await record(recorder, *many)
    recorder.stop()
    assert len({each.exchange.id for each in store.kept}) == 9
    assert recorder.ledger().gap == 0
    assert "could not be spooled" in caplog.text


async def test_exchanges_that_opened_in_the_spool_may_end_without_it_and_the_other_way_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, _ = new_spool(tmp_path)
    recorder = Recorder(QUICK, store := FakeStore(), spool)
    first, second = closed(b"first"), closed(b"second")
    opened = recorder.begin()
    opened.open(first.exchange, first.bodies)
    with monkeypatch.context() as patch:
        patch.setattr("telemetry.record.segment.Segment._insert", _full)
        late = recorder.begin()
        late.open(second.exchange, second.bodies)
        await opened.close(first)
    monkeypatch.setattr("telemetry.record.spool.RETRY_SECONDS", 0)
    await late.close(second)
    recorder.start()
    recorder.stop()
    assert {each.exchange.id for each in store.kept} == {first.exchange.id, second.exchange.id}
    assert all(each.bodies is not None for each in store.kept)
    assert recorder.ledger().gap == 0


def _full(*args: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


@pytest.mark.parametrize("size", [0, 1000, 4000, 9000, 19_000, 60_000, 400_000])
async def test_an_entry_takes_the_event_loop_microseconds_whatever_its_size(tmp_path: Path, size: int) -> None:
    """The median of the processor's time: other work on this machine has little to say."""
    spool, _ = new_spool(tmp_path)
    recorder = Recorder(RecordConf(flush_seconds=20), FakeStore(), spool)
    opening, closing = [], []
    for _ in range(100):
        one = closed(b"q" * size, b"a" * 500)
        began = time.thread_time()
        recording = recorder.begin()
        recording.open(one.exchange, one.bodies)
        opening.append(time.thread_time() - began)
        began = time.thread_time()
        await recording.close(one)
        closing.append(time.thread_time() - began)
    assert median(opening) < ENTRY_MAX_SECONDS
    assert median(closing) < ENTRY_MAX_SECONDS
    recorder.start()
    recorder.stop()
    assert recorder.ledger().gap == 0


async def test_large_bodies_are_written_by_a_thread(tmp_path: Path) -> None:
    spool, _ = new_spool(tmp_path)
    assert not spool.needs_thread(closed(b"q" * 10_000, b"a" * 10_000).bodies)
    assert spool.needs_thread(closed(b"q" * 10_000, b"a" * 10_001).bodies)
    assert not spool.needs_thread(Closed(closed().exchange, None).bodies)
    large = closed(b"q" * 30_000)
    assert spool.open(large.exchange, large.bodies).request_from != IN_ROW
    spool.stop()


async def test_many_files_come_and_go_and_leave_nothing_open(tmp_path: Path) -> None:
    spool, folder = new_spool(tmp_path, segment_max_entries=4, segment_seconds=0.05)
    recorder = Recorder(RecordConf(batch_seconds=0.001), store := FakeStore(), spool)
    recorder.start()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(300):
        await record(recorder, closed(), closed(b"q" * 30_000))
    eventually(lambda: recorder.ledger().spooled_bytes == 0)
    eventually(lambda: len(list(folder.path.glob("*.db"))) <= 2)
    assert not list(folder.path.glob("*.request"))
    assert len(os.listdir("/proc/self/fd")) < before + 10
    recorder.stop()
    assert len(store.kept) == 600


async def test_files_of_a_row_that_could_not_be_written_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, folder = new_spool(tmp_path)
    recorder = Recorder(QUICK, store := FakeStore(), spool)
    large = closed(b"q" * 200_000, b"a" * 300_000)
    assert large.bodies is not None
    recording = recorder.begin()
    recording.open(large.exchange, msgspec.structs.replace(large.bodies, response=[]))
    with monkeypatch.context() as patch:
        patch.setattr("telemetry.record.segment.Segment._insert", _full)
        await recording.close(large)
    assert not list(folder.path.glob("*.re*"))
    assert recorder.ledger().spooled_bytes < 520_000, "in memory, and not in files any more"
    recorder.start()
    recorder.stop()
    assert [each.bodies for each in store.kept] == [large.bodies]
    assert (recorder.ledger().gap, recorder.ledger().spooled_bytes) == (0, 0)


async def test_any_fault_of_the_spool_leaves_the_exchange_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spool, _ = new_spool(tmp_path)
    recorder = Recorder(QUICK, store := FakeStore(), spool)

    def broken(*args: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("telemetry.record.bodyfiles.Path.write_bytes", broken)
    await record(recorder, closed(b"q" * 50_000, b"a" * 50_000))
    monkeypatch.setattr(spool, "close", broken)
    monkeypatch.setattr(spool, "open", broken)
    await record(recorder, closed())
    recorder.start()
    recorder.stop()
    assert len(store.kept) == 2
    assert recorder.ledger().gap == 0
    assert "could not be closed in the spool" in caplog.text


async def test_while_the_database_is_away_files_stay_small_and_take_no_descriptors(tmp_path: Path) -> None:
    spool, folder = new_spool(tmp_path, segment_max_entries=20)
    recorder = Recorder(RecordConf(batch_seconds=0.01, flush_seconds=0.1), FakeStore(failures=100_000), spool)
    recorder.start()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(15):
        eventually(lambda: spool._spare is not None)
        await record(recorder, *(closed() for _ in range(20)))
    assert len(list(folder.path.glob("*.db"))) > 15
    eventually(lambda: sum(drain.segment.is_connected for drain in spool._drains) == 1)
    assert len(os.listdir("/proc/self/fd")) < before + 12
    recorder.stop()


async def test_a_descriptor_that_is_missing_for_a_moment_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, _ = new_spool(tmp_path, memory_max_bytes=0)
    recorder = Recorder(QUICK, store := FakeStore(), spool)
    await record(recorder, *(closed() for _ in range(10)))

    def no_descriptor(*args: object) -> None:
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("telemetry.record.segment.SegmentReader.open", no_descriptor)
        for _ in range(10):
            assert spool.take(100, 1_000_000) is None
    recorder.start()
    recorder.stop()
    assert (len(store.kept), recorder.ledger().lost) == (10, 0)


async def test_one_whose_end_is_only_in_memory_stays_open_in_the_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed then, it is recorded as interrupted rather than not at all."""
    spool, folder = new_spool(tmp_path)
    recorder = Recorder(QUICK, FakeStore(), spool)
    one = closed()
    recording = recorder.begin()
    recording.open(one.exchange, one.bodies)
    with monkeypatch.context() as patch:
        patch.setattr("telemetry.record.segment.Segment._insert", _full)
        await recording.close(one)
    spool.tidy()
    folder.release()
    found: list[Closed] = []

    def store(batch: Sequence[Closed], page: Page) -> Stored:
        found.extend(batch)
        return Stored(len(found))

    (adopted,) = adopt(tmp_path, store)
    assert adopted.interrupted == 1
    assert found[0].exchange.id == one.exchange.id


async def test_what_was_open_in_a_damaged_file_is_opened_again(tmp_path: Path) -> None:
    spool, folder = new_spool(tmp_path, memory_max_bytes=0)
    recorder = Recorder(QUICK, store := FakeStore(), spool)
    one = closed()
    recording = recorder.begin()
    recording.open(one.exchange, one.bodies)
    await record(recorder, closed())
    spool._give_up(spool._drains[0], sqlite3.DatabaseError("malformed"))
    assert len(list((tmp_path / SET_ASIDE).glob("*.db"))) == 1
    folder.release()
    (adopted,) = adopt(tmp_path, lambda batch, page: Stored(len(batch)))
    assert (adopted.ended, adopted.interrupted) == (0, 1)
    assert (recorder.ledger().gap, recorder.ledger().lost, store.kept) == (1, 1, [])
