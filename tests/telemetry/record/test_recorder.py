"""From the request path into the store: through the spool, or through memory while there is none."""

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from accounts.ids import new_id
from telemetry.conf import RecordConf, SpoolConf
from telemetry.record import recorder as recording
from telemetry.record.exchange import Closed, Outcome
from telemetry.record.folder import Folder, folders
from telemetry.record.ledger import Page, Stored
from telemetry.record.recorder import Recorder
from telemetry.record.spool import Spool
from tests.served import eventually
from tests.telemetry.facts import closed

pytestmark = pytest.mark.anyio
QUICK = RecordConf(batch_seconds=0.01, flush_seconds=5)


class FakeStore:
    """Keeps what it is given; raises as often as it is told; waits while it is held."""

    def __init__(self, failures: int = 0) -> None:
        self.kept: list[Closed] = []
        self.pages: list[Page] = []
        self.failures = failures
        self.free = threading.Event()
        self.free.set()

    def __call__(self, batch: Sequence[Closed], page: Page) -> Stored:
        self.free.wait(10)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the database is away\nDETAIL: a value nobody should see")
        self.kept += batch
        self.pages.append(page)
        return Stored(len(self.kept))


@pytest.fixture
def conf(tmp_path: Path) -> SpoolConf:
    return SpoolConf(root=tmp_path / "spool", segment_seconds=0.05)


@pytest.fixture
def spool(conf: SpoolConf) -> Spool:
    return Spool(Folder.create(conf.root, new_id()), conf)


@pytest.fixture(params=["spool", "memory"])
def spool_or_none(request: pytest.FixtureRequest, spool: Spool) -> Iterator[Spool | None]:
    yield spool if request.param == "spool" else None
    spool.stop()


async def record(recorder: Recorder, *exchanges: Closed) -> None:
    for each in exchanges:
        recording = recorder.begin()
        recording.open(each.exchange, each.bodies)
        await recording.close(each)


def pairs(exchanges: Sequence[Closed]) -> list[tuple[object, object]]:
    return [(each.exchange, each.bodies) for each in exchanges]


async def test_it_stores_in_order_and_the_ledger_has_no_gap(spool_or_none: Spool | None) -> None:
    store = FakeStore()
    recorder = Recorder(QUICK, store, spool_or_none)
    first = recorder.begin()
    first.open(closed().exchange, None)
    assert (recorder.running, recorder.ledger().in_flight, recorder.ledger().gap) == (1, 1, 0)
    recorder.start()
    many = [closed() for _ in range(1200)]
    await record(recorder, *many)
    last = closed()
    await first.close(last)
    recorder.stop()
    assert pairs(store.kept) == pairs([*many, last])
    ledger = recorder.ledger()
    assert (ledger.accepted, ledger.stored, ledger.in_flight, ledger.spooled, ledger.lost) == (1201, 1201, 0, 0, 0)
    assert (ledger.gap, recorder.running) == (0, 0)
    assert store.pages[-1].ended_at is not None
    assert store.pages[-1].spooled_bytes == 0
    assert store.pages[-1].accepted == 1201


async def test_large_bodies_arrive_whole(spool: Spool, conf: SpoolConf) -> None:
    """They go through files of their own; nothing of them is left behind."""
    store = FakeStore()
    recorder = Recorder(QUICK, store, spool)
    sizes = [(0, 0), (30_000, 10), (10, 30_000), (10_001, 10_001), (100_000, 2_000_000), (5_000_000, 3)]
    many = [closed(b"q" * request, b"a" * response) for request, response in sizes]
    await record(recorder, *many)
    unopened = closed(b"q" * 80_000, b"a" * 80_000)
    await recorder.begin().close(unopened)
    recorder.start()
    recorder.stop()
    assert pairs(store.kept) == pairs([*many, unopened])
    assert recorder.ledger().gap == recorder.ledger().spooled_bytes == 0
    assert list(folders(conf.root)) == []


async def test_what_memory_cannot_hold_is_read_back_from_the_spool(conf: SpoolConf) -> None:
    conf = replace(conf, memory_max_bytes=50_000, segment_max_entries=40)
    recorder = Recorder(QUICK, store := FakeStore(), Spool(Folder.create(conf.root, new_id()), conf))
    many = [closed(b"q" * (number * 500), b"a" * (number * 300)) for number in range(100)]
    await record(recorder, *many)
    recorder.start()
    recorder.stop()
    assert pairs(store.kept) == pairs(many)
    assert recorder.ledger().gap == recorder.ledger().spooled_bytes == 0


async def test_it_tries_again_until_the_database_is_back(
    spool_or_none: Spool | None, caplog: pytest.LogCaptureFixture
) -> None:
    store = FakeStore(failures=2)
    recorder = Recorder(QUICK, store, spool_or_none)
    with caplog.at_level(logging.WARNING):
        await record(recorder, closed())
        recorder.start()
        eventually(lambda: store.kept)
        eventually(lambda: "can be written again" in caplog.text)
        recorder.stop()
    assert caplog.text.count("it waits in the spool") == 1
    assert "nobody should see" not in caplog.text
    assert (recorder.ledger().stored, recorder.ledger().gap, len(store.kept)) == (1, 0, 1)


async def test_in_memory_it_drops_bodies_beyond_its_bytes_and_exchanges_beyond_its_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = FakeStore()
    recorder = Recorder(RecordConf(queue_max_exchanges=3, queue_max_bytes=2500, flush_seconds=5), store)
    await record(recorder, *(closed(b"x" * 600, b"") for _ in range(5)))
    ledger = recorder.ledger()
    assert (ledger.spooled, ledger.lost, ledger.bodies_dropped, ledger.gap) == (3, 2, 2, 2)
    assert len(caplog.records) == 2
    recorder.start()
    recorder.stop()
    assert [each.bodies is not None for each in store.kept] == [True, False, False]


async def test_beyond_its_bytes_the_spool_drops_bodies_and_no_rows(
    conf: SpoolConf, caplog: pytest.LogCaptureFixture
) -> None:
    conf = replace(conf, max_bytes=200_000)
    recorder = Recorder(QUICK, store := FakeStore(), Spool(Folder.create(conf.root, new_id()), conf))
    await record(recorder, *(closed(b"x" * 40_000, b"") for _ in range(10)))
    assert 5 <= recorder.ledger().bodies_dropped < 10
    assert "NEXUS_SPOOL_MAX_BYTES" in caplog.text
    recorder.start()
    eventually(lambda: len(store.kept) == 10)
    kept = [each.bodies is not None for each in store.kept]
    assert kept[:2] == [True, True]
    assert kept[-5:] == [False] * 5
    eventually(lambda: recorder.ledger().spooled_bytes < 50_000)
    await record(recorder, closed(b"y" * 40_000, b""))
    recorder.stop()
    assert store.kept[-1].bodies is not None, "what was stored makes room"
    assert recorder.ledger().gap == 0


async def test_what_the_database_does_not_take_in_time_stays_in_the_spool(
    spool: Spool, conf: SpoolConf, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(RecordConf(batch_seconds=0.01, flush_seconds=0.3), FakeStore(failures=1000), spool)
    recorder.start()
    await record(recorder, closed(), closed())
    recorder.stop()
    assert "2 exchanges stay in the spool" in caplog.text
    assert (recorder.ledger().spooled, recorder.ledger().gap) == (2, 0)
    assert len(list(folders(conf.root))) == 1


async def test_in_memory_it_gives_up_at_its_deadline_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(RecordConf(batch_seconds=0.01, flush_seconds=0.3), FakeStore(failures=1000))
    recorder.start()
    await record(recorder, closed(), closed())
    recorder.stop()
    assert "2 exchanges could not be stored" in caplog.text


async def test_a_store_that_leaves_one_out_makes_a_gap_that_has_a_reason() -> None:
    recorder = Recorder(QUICK, lambda batch, page: Stored(0, left_out=len(batch)))
    await record(recorder, closed())
    recorder.start()
    recorder.stop()
    assert (recorder.ledger().gap, recorder.ledger().lost) == (1, 1)


async def test_the_ledger_is_written_while_streams_only_run(spool: Spool) -> None:
    store = FakeStore()
    recorder = Recorder(QUICK, store, spool)
    recorder.start()
    recording = recorder.begin()
    recording.open(closed().exchange, None)
    eventually(lambda: any(page.in_flight == 1 for page in store.pages))
    await recording.close(closed(outcome=Outcome.CANCELLED))
    recorder.stop()


async def test_a_stream_of_hours_does_not_keep_old_files(conf: SpoolConf) -> None:
    """It moves on with the writer; killed then, it is still found, once."""
    conf = replace(conf, segment_max_entries=10)
    spool = Spool(Folder.create(conf.root, new_id()), conf)
    recorder = Recorder(QUICK, store := FakeStore(), spool)
    long_runner = closed(b"asked long ago", b"answered at last")
    recording = recorder.begin()
    recording.open(long_runner.exchange, long_runner.bodies)
    recorder.start()
    (folder,) = folders(conf.root)
    for round in range(20):
        await record(recorder, *(closed() for _ in range(10)))
        eventually(lambda: len(store.kept) == (round + 1) * 10)  # noqa: B023
    eventually(lambda: len(list(folder.glob("*.db"))) <= 5)
    await recording.close(long_runner)
    recorder.stop()
    assert pairs(store.kept)[-1] == (long_runner.exchange, long_runner.bodies)
    assert recorder.ledger().gap == 0


async def test_a_process_without_work_says_that_it_is_there(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "LEDGER_SECONDS", 0.01)
    monkeypatch.setattr(recording, "HEARTBEAT_SECONDS", 0.05)
    recorder = Recorder(QUICK, store := FakeStore(), spool)
    recorder.start()
    eventually(lambda: len(store.pages) >= 3)
    recorder.stop()
    assert not store.kept
