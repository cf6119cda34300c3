from collections.abc import Sequence

from telemetry.conf import RecordConf
from telemetry.record.exchange import Bodies, Closed
from telemetry.record.recorder import Recorder
from tests.telemetry.facts import closed, exchange

KILOBYTE = b"x" * 1000


class Busy(bytes):
    """A chunk at whose counting another exchange ends, as on the event loop beside the writer's thread."""

    recorder: Recorder
    is_due = False

    def __len__(self) -> int:
        if type(self).is_due:
            type(self).is_due = False
            record(self.recorder, closed(KILOBYTE, b""))
        return super().__len__()


def record(recorder: Recorder, one: Closed) -> None:
    recorder.open()
    recorder.close(one)


def test_an_exchange_that_ends_during_a_write_is_counted() -> None:
    """Lost additions would let the queue grow beyond its bound."""
    kept: list[Closed] = []

    def store(batch: Sequence[Closed]) -> int:
        kept.extend(batch)
        if len(kept) == 1:
            Busy.is_due = True  # the batch is stored, now its bytes are subtracted
        return len(batch)

    recorder = Recorder(RecordConf(batch_size=1, batch_seconds=0.01, queue_max_bytes=3 * 1000 + 500), store)
    Busy.recorder = recorder
    bodies = Bodies(
        request_headers=[],
        response_headers=[],
        request=b"",
        response=[Busy()],
        request_is_whole=True,
        response_is_whole=True,
    )
    record(recorder, Closed(exchange(), bodies))
    recorder.start()
    recorder.stop()
    assert len(kept) == 2
    for _ in range(4):
        record(recorder, closed(KILOBYTE, b""))
    assert recorder.ledger().bodies_dropped == 1, "three of four kilobytes fit"
