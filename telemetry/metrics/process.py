"""Gauges of one process. They go with it: a process that was killed is in no sum any more."""

import os
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime

from django.db import connections
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from telemetry.conf import RecordConf
from telemetry.limits import standing
from telemetry.limits.standing import Standing
from telemetry.metrics import vitals
from telemetry.metrics.vitals import Vitals
from telemetry.record.recorder import Recorder
from telemetry.sinks import Sinks

LAG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
MINUTE_OF_LAGS, MINUTE_OF_SAMPLES = 120, 30


class ProcessMetrics:
    """`sample` runs in a thread, with what the event loop's watch has measured since the last time."""

    def __init__(self, registry: CollectorRegistry, recorder: Recorder, sinks: Sinks, conf: RecordConf) -> None:
        self._recorder, self._sinks = recorder, sinks
        self._spool_limit = conf.spool.max_bytes if conf.spool else conf.queue_max_bytes
        self._registry = registry
        self._started_at = datetime.now(UTC)
        self._lags: deque[float] = deque(maxlen=MINUTE_OF_LAGS)
        self._lost: deque[int] = deque(maxlen=MINUTE_OF_SAMPLES)
        self._dropped_before, self._cpu_before, self._alone_before = 0, 0.0, 0
        self._lag = Histogram(
            "nexus_event_loop_lag_seconds",
            "How late the event loop woke from short sleeps",
            buckets=LAG,
            registry=registry,
        )
        self._sinks_dropped = Counter(
            "nexus_sinks_dropped", "Exchanges that metrics, log lines and traces were not told of", registry=registry
        )
        self._cpu = Counter(
            "nexus_process_cpu_seconds", "Processor time that web processes have used", registry=registry
        )
        self._limits_shared = Gauge(
            "nexus_limits_shared",
            "1: all processes count limits together, or there is one only; 0: one at least counts alone",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._limits_alone = Counter(
            "nexus_limits_fallbacks", "How often a process began to count limits alone", registry=registry
        )
        self._in_flight = self._sum("nexus_exchanges_in_flight", "Requests that have begun and not ended")
        self._spooled = self._sum("nexus_spool_exchanges", "Exchanges that have ended and wait for the database")
        self._spool_bytes = self._sum("nexus_spool_bytes", "What waits for the database, and the files that hold it")
        self._limit = self._sum("nexus_spool_limit_bytes", "Beyond it, in any process, new bodies are dropped")
        self._workers = self._sum("nexus_web_processes", "Web processes of this node that live")
        self._connections = self._sum("nexus_database_connections", "Connections to PostgreSQL, open", ("state",))
        self._waiting = self._sum("nexus_database_waiting", "Threads that wait for a connection to PostgreSQL")
        self._lag_max = self._of_each("nexus_event_loop_lag_max_seconds", "The longest lag of the last minute")
        self._memory = self._of_each("nexus_process_resident_memory_bytes", "Resident memory of a process")
        self._files = self._of_each("nexus_process_open_files", "File descriptors that a process has open")
        self._built = self._of_each("nexus_build_info", "Which version runs", ("process", "version", "python"))

    def _sum(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, meaning, labels, registry=self._registry, multiprocess_mode="livesum")

    def _of_each(self, name: str, meaning: str, labels: Sequence[str] = ("process",)) -> Gauge:
        # Each process has a series of its own: the sum is of one. `pid` would be a label where processes share only.
        return self._sum(name, meaning, labels)

    def sample(self, lags: Sequence[float]) -> None:
        """Raises what the cache raises, when the gauges are set."""
        self._lags.extend(lags)
        for lag in lags:
            self._lag.observe(lag)
        measured = self._measure()
        self._show(measured)
        self._show_connections()
        self._show_limits(standing.now())
        vitals.publish(measured)

    def _measure(self) -> Vitals:
        ledger = self._recorder.ledger()
        self._lost.append(ledger.lost)
        return Vitals(
            process=self._recorder.process_id,
            node=vitals.NODE,
            pid=os.getpid(),
            version=vitals.VERSION,
            python=vitals.PYTHON,
            started_at=self._started_at,
            seen_at=datetime.now(UTC),
            in_flight=self._recorder.running,
            spooled=ledger.spooled,
            spooled_bytes=ledger.spooled_bytes,
            spool_limit_bytes=self._spool_limit,
            sinks_dropped=self._sinks.dropped,
            lost=ledger.lost,
            lost_lately=ledger.lost - self._lost[0],
            bodies_dropped=ledger.bodies_dropped,
            loop_lag_max_seconds=max(self._lags, default=0.0),
            cpu_seconds=vitals.cpu_seconds(),
            memory_bytes=vitals.memory_bytes(),
            open_files=vitals.open_files(),
        )

    def _show(self, now: Vitals) -> None:
        process = str(now.process)
        self._workers.set(1)
        self._built.labels(process, now.version, now.python).set(1)
        self._in_flight.set(now.in_flight)
        self._spooled.set(now.spooled)
        self._spool_bytes.set(now.spooled_bytes)
        self._limit.set(now.spool_limit_bytes)
        self._lag_max.labels(process).set(now.loop_lag_max_seconds)
        self._cpu.inc(max(0.0, now.cpu_seconds - self._cpu_before))
        self._cpu_before = now.cpu_seconds
        if now.memory_bytes is not None:
            self._memory.labels(process).set(now.memory_bytes)
        if now.open_files is not None:
            self._files.labels(process).set(now.open_files)
        if now.sinks_dropped > self._dropped_before:
            self._sinks_dropped.inc(now.sinks_dropped - self._dropped_before)
            self._dropped_before = now.sinks_dropped

    def _show_limits(self, now: Standing | None) -> None:
        self._limits_shared.set(1 if now is None or now.alone_since is None else 0)
        if now is not None and now.fallbacks > self._alone_before:
            self._limits_alone.inc(now.fallbacks - self._alone_before)
            self._alone_before = now.fallbacks

    def _show_connections(self) -> None:
        """Of this process's pool, which SQLite does not have."""
        pool = getattr(connections["default"], "pool", None)
        if pool is None:
            return
        stats = pool.get_stats()
        free = stats.get("pool_available", 0)
        self._connections.labels("idle").set(free)
        self._connections.labels("in_use").set(stats.get("pool_size", 0) - free)
        self._waiting.set(stats.get("requests_waiting", 0))
