"""Stores in Redis, as tests start and stop them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TypeVar

from telemetry.limits.fallback import FallbackStore
from telemetry.limits.shared import SharedStore

Running = TypeVar("Running", SharedStore, FallbackStore)


@contextlib.asynccontextmanager
async def running(store: Running) -> AsyncIterator[Running]:
    task = asyncio.create_task(store.run())
    try:
        yield store
    finally:
        store.stop()
        await task
