"""How a process measures itself."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from django.conf import settings
from django.core.cache import cache
from prometheus_client import CollectorRegistry

from accounts.ids import new_id
from telemetry.conf import RecordConf
from telemetry.limits import standing
from telemetry.limits.standing import Standing
from telemetry.metrics import vitals
from telemetry.metrics.process import ProcessMetrics
from telemetry.metrics.vitals import Vitals
from telemetry.record.exchange import Closed
from telemetry.record.ledger import Page, Stored
from telemetry.record.recorder import Recorder
from telemetry.sinks import Sinks
from tests.telemetry.facts import closed, exchange

VITALS = Vitals(
    process=new_id(),
    node="a",
    pid=1,
    version="1.0",
    python="3.11.0",
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
    seen_at=datetime(2026, 1, 1, tzinfo=UTC),
    in_flight=0,
    spooled=0,
    spooled_bytes=0,
    spool_limit_bytes=1,
    sinks_dropped=0,
    lost=0,
    lost_lately=0,
    bodies_dropped=0,
    loop_lag_max_seconds=0.0,
    cpu_seconds=0.0,
    memory_bytes=None,
    open_files=None,
)


def away(batch: Sequence[Closed], page: Page) -> Stored:
    raise ConnectionError


class Measured:
    """A process without a spool whose database is away, and room for one exchange in memory."""

    def __init__(self) -> None:
        conf = RecordConf(queue_max_exchanges=1)
        self.registry = CollectorRegistry()
        self.recorder = Recorder(conf, away)
        self.sinks = Sinks([lambda exchanges: None], max_exchanges=1)
        self.metrics = ProcessMetrics(self.registry, self.recorder, self.sinks, conf)

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    @property
    def process(self) -> str:
        return str(self.recorder.process_id)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    monkeypatch.setattr(vitals, "_own", None)
    cache.clear()
    return Measured()


def test_it_tells_what_it_carries_and_what_waits(measured: Measured) -> None:
    measured.recorder.begin()
    asyncio.run(measured.recorder.begin().close(closed()))
    measured.metrics.sample([0.001, 0.3])
    assert measured("nexus_exchanges_in_flight") == 1
    assert measured("nexus_spool_exchanges") == 1
    assert (measured("nexus_spool_bytes") or 0) > 0
    assert measured("nexus_spool_limit_bytes") == 256_000_000
    assert measured("nexus_event_loop_lag_max_seconds", process=measured.process) == 0.3
    assert measured("nexus_event_loop_lag_seconds_count") == 2
    assert (measured("nexus_process_cpu_seconds_total") or 0) > 0
    assert measured("nexus_web_processes") == 1


def test_what_the_sinks_missed_only_grows(measured: Measured) -> None:
    for _ in range(3):
        measured.sinks.tell(exchange())
    measured.metrics.sample([])
    measured.metrics.sample([])
    assert measured("nexus_sinks_dropped_total") == 2


def test_it_tells_when_it_counts_limits_alone(measured: Measured) -> None:
    measured.metrics.sample([])
    assert (measured("nexus_limits_shared"), measured("nexus_limits_fallbacks_total")) == (1, 0)
    standing.told_by(lambda: Standing(datetime(2026, 11, 23, tzinfo=UTC), 2))
    try:
        measured.metrics.sample([])
        measured.metrics.sample([])
    finally:
        standing.told_by(None)
    assert (measured("nexus_limits_shared"), measured("nexus_limits_fallbacks_total")) == (0, 2)


def test_others_find_it_in_the_cache_until_it_is_silent(measured: Measured) -> None:
    measured.metrics.sample([])
    found = vitals.published([measured.recorder.process_id, new_id()])
    assert list(found) == [measured.recorder.process_id]
    assert found[measured.recorder.process_id] == vitals.own()


def test_a_loss_is_told_for_a_minute(measured: Measured) -> None:
    for _ in range(2):
        asyncio.run(measured.recorder.begin().close(closed()))
    measured.metrics.sample([])
    assert lost_lately() == 0, "what was lost before the first look is in `lost`"
    asyncio.run(measured.recorder.begin().close(closed()))
    measured.metrics.sample([])
    assert lost_lately() == 1
    for _ in range(30):
        measured.metrics.sample([])
    assert lost_lately() == 0


def lost_lately() -> int:
    own = vitals.own()
    assert own
    return own.lost_lately


def test_the_pool_of_connections_is_told_where_there_is_one(measured: Measured) -> None:
    measured.metrics.sample([])
    assert (measured("nexus_database_connections", state="idle") is not None) == bool(settings.DATABASE_URL)
