import logging
import threading
from collections.abc import Sequence

import pytest

from telemetry.conf import RecordConf
from telemetry.record.exchange import Closed
from telemetry.record.recorder import Ledger, Recorder
from tests.served import eventually
from tests.telemetry.facts import closed

QUICK = RecordConf(batch_seconds=0.01, flush_seconds=1)


class FakeStore:
    """Keeps what it is given; raises as often as it is told; waits while it is held."""

    def __init__(self, failures: int = 0) -> None:
        self.kept: list[Closed] = []
        self.failures = failures
        self.free = threading.Event()
        self.free.set()

    def __call__(self, batch: Sequence[Closed]) -> int:
        self.free.wait(10)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the database is away\nDETAIL: a value nobody should see")
        self.kept += batch
        return len(batch)


def record(recorder: Recorder, *exchanges: Closed) -> None:
    for each in exchanges:
        recorder.open()
        recorder.close(each)


def test_it_stores_in_order_and_the_ledger_has_no_gap() -> None:
    store = FakeStore()
    recorder = Recorder(QUICK, store)
    recorder.open()
    assert recorder.ledger() == Ledger(1, 0, 1, 0, 0, 0)
    recorder.start()
    many = [closed() for _ in range(1200)]
    record(recorder, *many)
    recorder.close(closed())
    recorder.stop()
    assert store.kept[:1200] == many
    assert recorder.ledger() == Ledger(1201, 1201, 0, 0, 0, 0)
    assert recorder.ledger().gap == 0


def test_it_tries_again_until_the_database_is_back(caplog: pytest.LogCaptureFixture) -> None:
    store = FakeStore(failures=2)
    recorder = Recorder(QUICK, store)
    with caplog.at_level(logging.WARNING):
        recorder.start()
        record(recorder, closed())
        eventually(lambda: store.kept)
        recorder.stop()
    assert "can be written again" in caplog.text
    assert "nobody should see" not in caplog.text
    assert recorder.ledger() == Ledger(1, 1, 0, 0, 0, 0)


def test_beyond_its_bytes_it_drops_bodies_and_beyond_its_count_exchanges(caplog: pytest.LogCaptureFixture) -> None:
    store = FakeStore()
    recorder = Recorder(RecordConf(queue_max_exchanges=3, queue_max_bytes=1000, flush_seconds=1), store)
    record(recorder, *(closed(b"x" * 600, b"") for _ in range(5)))
    ledger = recorder.ledger()
    assert (ledger.queued, ledger.dropped, ledger.bodies_dropped, ledger.gap) == (3, 2, 2, 0)
    assert len(caplog.records) == 2
    recorder.start()
    recorder.stop()
    assert [each.bodies is not None for each in store.kept] == [True, False, False]
    record(recorder, closed(b"x" * 600, b""))
    assert recorder.ledger().bodies_dropped == 2, "what was stored makes room"


def test_it_gives_up_at_its_deadline_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(RecordConf(batch_seconds=0.01, flush_seconds=0.3), FakeStore(failures=1000))
    recorder.start()
    record(recorder, closed(), closed())
    recorder.stop()
    assert "2 exchanges could not be stored" in caplog.text
    assert recorder.ledger().queued == 2
    assert recorder.ledger().gap == 0


def test_another_reader_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Closed] = []

    def broken(batch: Sequence[Closed]) -> None:
        raise ValueError("not today")

    store = FakeStore()
    recorder = Recorder(QUICK, store, [broken, seen.extend])
    recorder.start()
    record(recorder, closed(), closed())
    recorder.stop()
    assert seen == store.kept
    assert "not today" in caplog.text


def test_a_store_that_leaves_one_out_is_in_the_ledger() -> None:
    recorder = Recorder(QUICK, lambda batch: len(batch) - 1)
    recorder.start()
    record(recorder, closed())
    recorder.stop()
    assert recorder.ledger() == Ledger(1, 0, 0, 0, 1, 0)
