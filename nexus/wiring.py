"""Puts one process together from the settings: who knows whom, and what starts and stops in which order."""

import asyncio
import contextlib
import gc
import logging
import sqlite3
import sys
from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async
from django.conf import settings

from accounts.ids import new_id
from accounts.register import Register
from nexus.credentials import Credentials
from nexus.handler import LeanHandler
from nexus.limiting import Limiting
from nexus.logs import take_last_words, writer
from nexus.tracing import spans
from proxy.limiter import Limiter
from proxy.relay import Relay
from proxy.tracing import Tracing
from proxy.upstream import Upstream
from proxy.waiting import WaitingRoom
from telemetry.conf import RecordConf, SpoolConf
from telemetry.exchangelog import ExchangeLog
from telemetry.live import Ticker
from telemetry.metrics.eventloop import LoopWatch
from telemetry.metrics.exchanges import ExchangeMetrics
from telemetry.metrics.process import ProcessMetrics
from telemetry.metrics.shared import REGISTRY, Membership
from telemetry.metrics.waiting import WaitingMetrics
from telemetry.money import prices
from telemetry.money.pricing import PriceList
from telemetry.record.adoption import adopt
from telemetry.record.folder import Folder
from telemetry.record.policies import Policies
from telemetry.record.recorder import Recorder
from telemetry.record.shelf import Shelf
from telemetry.record.spool import Spool
from telemetry.record.store import Store
from telemetry.sinks import Sinks

if TYPE_CHECKING:
    from telemetry.traces.spans import Spans

logger = logging.getLogger(__name__)

CUT_SECONDS = 2.0
CUT_POLL_SECONDS = 0.02
GIL_SWITCH_SECONDS = 0.0005
GC_THRESHOLDS = (20_000, 20, 100)


class Node:
    """What runs in one web process."""

    def __init__(self) -> None:
        self.prices = PriceList()
        self.register = Register(also_load=self._load_prices)
        self.upstream = Upstream(settings.UPSTREAM)
        self.recorder = self._recorder(settings.RECORD)
        self._membership = Membership()  # before anything is counted
        exchange_log = ExchangeLog(
            lambda: self.register.snapshot, writer.write, as_json=settings.LOG_JSON, colors=sys.stderr.isatty()
        )
        counts = ExchangeMetrics(REGISTRY, lambda: self.register.snapshot, lambda: self.prices)
        self._ticker = Ticker(lambda: self.register.snapshot)
        self.sinks = Sinks([exchange_log, counts, self._ticker])
        self._loop_watch = LoopWatch(ProcessMetrics(REGISTRY, self.recorder, self.sinks, settings.RECORD).sample)
        self._limiting = Limiting(lambda: self.limiter.running())
        self.limiter = Limiter(
            settings.LIMITS,
            lambda: self.register.snapshot,
            self._limiting.store,
            self._limiting.seeding,
            WaitingRoom(settings.WAITING, WaitingMetrics(REGISTRY)),
        )
        self._credentials = Credentials(self.register.refresh)
        relay = Relay(
            snapshot=lambda: self.register.snapshot,
            dispatch=self._credentials.dispatch,
            limiter=self.limiter,
            upstream=self.upstream,
            prices=lambda: self.prices,
            recorder=self.recorder,
            sinks=self.sinks,
            tracing=Tracing(settings.TRACES),
            intake=settings.INTAKE,
            keep_bodies=settings.RECORD.store_bodies,
            forward_request_id=settings.FORWARD_REQUEST_ID,
        )
        self.handler = LeanHandler(relay, settings.INTAKE, settings.TRUSTED_PEERS)
        self._spans: Spans | None = None
        self._started: asyncio.Task[None] | None = None
        self._freshness: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._leases: asyncio.Task[None] | None = None
        self._ticks: asyncio.Task[None] | None = None

    def _load_prices(self) -> None:
        self.prices = prices.load()

    def _recorder(self, conf: RecordConf) -> Recorder:
        policies = Policies(lambda: self.register.snapshot)
        store = Store(Shelf(policies.of))
        if conf.spool is None:
            return Recorder(conf, store)
        root = conf.spool.root
        return Recorder(conf, store, _new_spool(conf.spool), adopt=lambda: adopt(root, store))

    @property
    def is_running(self) -> bool:
        return self._freshness is not None

    async def ensure_started(self) -> None:
        """Once per process: by the server's lifespan, or, where it has none (daphne), by the first request."""
        if self._started is None or (self._started.done() and not self.is_running):
            self._started = asyncio.create_task(self._start())  # also after a start that failed
        await asyncio.shield(self._started)

    async def _start(self) -> None:
        _tune_interpreter()
        writer.in_background()
        take_last_words()
        await self.register.start()
        self.recorder.start()
        self._spans = spans(lambda: {domain.id: domain.host for domain in self.register.snapshot.domains.values()})
        self.sinks.start(*([self._spans] if self._spans else []))
        self._watching = asyncio.create_task(self._loop_watch.run())
        await self._limiting.start()
        await self._credentials.start()
        self._leases = asyncio.create_task(self.limiter.keep_leases())
        self._ticks = asyncio.create_task(self._ticker.run())
        self._freshness = asyncio.create_task(self.register.keep_fresh())

    async def stop(self) -> None:
        """After the server has drained: what it cut short is recorded, and the record goes last."""
        await self._wait_for_open_exchanges()
        for task in (self._freshness, self._watching, self._leases, self._ticks):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        await self._limiting.stop()
        await self._credentials.stop()
        await self.upstream.aclose()
        await sync_to_async(self._stop_sinks, thread_sensitive=False)()
        await sync_to_async(self.recorder.stop, thread_sensitive=False)()

    def _stop_sinks(self) -> None:
        self.sinks.stop()
        if self._spans is not None:
            self._spans.stop()

    async def _wait_for_open_exchanges(self) -> None:
        for _ in range(round(CUT_SECONDS / CUT_POLL_SECONDS)):
            if not self.recorder.running:
                return
            await asyncio.sleep(CUT_POLL_SECONDS)


def _new_spool(conf: SpoolConf) -> Spool | None:
    folder = None
    try:
        folder = Folder.create(conf.root, new_id())
        return Spool(folder, conf)
    except (OSError, sqlite3.Error) as error:
        if folder is not None:
            folder.remove()
        logger.error("there is no spool in %s, exchanges wait in memory for the database: %s", conf.root, error)
        return None


def _tune_interpreter() -> None:
    """For an event loop beside a thread that writes: the loop gets the interpreter back at once instead of after five
    milliseconds, and the collector leaves the program's own modules alone (p99 at 32 connections fell by half)."""
    sys.setswitchinterval(GIL_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
