"""Puts one process together from the settings: who knows whom, and what starts and stops in which order."""

import asyncio
import contextlib
import gc
import sys

from asgiref.sync import sync_to_async
from django.conf import settings

from accounts.register import Register
from nexus.handler import LeanHandler
from proxy.relay import Relay
from proxy.upstream import Upstream
from proxy.vault import Vault
from telemetry.record.recorder import Recorder
from telemetry.record.store import store

CUT_SECONDS = 2.0
CUT_POLL_SECONDS = 0.02
GIL_SWITCH_SECONDS = 0.0005
GC_THRESHOLDS = (20_000, 20, 100)


class Node:
    """What runs in one web process."""

    def __init__(self) -> None:
        self.register = Register()
        self.upstream = Upstream(settings.UPSTREAM)
        self.recorder = Recorder(settings.RECORD, store)
        relay = Relay(
            snapshot=lambda: self.register.snapshot,
            vault=Vault(settings.UPSTREAM.default_api_key),
            upstream=self.upstream,
            recorder=self.recorder,
            intake=settings.INTAKE,
            keep_bodies=settings.RECORD.store_bodies,
        )
        self.handler = LeanHandler(relay, settings.INTAKE)
        self._started: asyncio.Task[None] | None = None
        self._freshness: asyncio.Task[None] | None = None

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
        await self.register.start()
        self.recorder.start()
        self._freshness = asyncio.create_task(self.register.keep_fresh())

    async def stop(self) -> None:
        """After the server has drained: what it cut short is recorded, and the record goes last."""
        await self._wait_for_open_exchanges()
        if self._freshness is not None:
            self._freshness.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._freshness
        await self.upstream.aclose()
        await sync_to_async(self.recorder.stop, thread_sensitive=False)()

    async def _wait_for_open_exchanges(self) -> None:
        for _ in range(round(CUT_SECONDS / CUT_POLL_SECONDS)):
            if not self.recorder.ledger().in_flight:
                return
            await asyncio.sleep(CUT_POLL_SECONDS)


def _tune_interpreter() -> None:
    """For an event loop beside a thread that writes: the loop gets the interpreter back at once instead of after five
    milliseconds, and the collector leaves the program's own modules alone (p99 at 32 connections fell by half)."""
    sys.setswitchinterval(GIL_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
