"""Where one process counts what is used of limits and budgets, and what runs beside that."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from asgiref.sync import sync_to_async
from django.conf import settings

from telemetry.limits import reading
from telemetry.limits.fallback import FallbackStore
from telemetry.limits.memory import MemoryStore
from telemetry.limits.seeding import Seeding
from telemetry.limits.shared import SharedStore
from telemetry.limits.statefile import StateFile
from telemetry.limits.store import Store, Want

STOP_SECONDS = 2.0


class Limiting:
    def __init__(self, running: Callable[[], Sequence[Want]]) -> None:
        """*running*: what holds places and money now."""
        memory = MemoryStore()
        self._shared = FallbackStore(SharedStore(settings.REDIS_URL), memory, running) if settings.REDIS_URL else None
        self._file = None if self._shared else StateFile(settings.NEXUS_DATA, memory)
        self.store: Store = self._shared or memory
        self.seeding = Seeding(self.store)
        reading.serve_from(None if self._shared else memory)
        self._tasks: list[asyncio.Task[None]] = []
        self._sharing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._shared is not None:
            self._sharing = asyncio.create_task(self._shared.run())
        if self._file is not None:
            await sync_to_async(self._file.restore, thread_sensitive=False)()
            self._tasks.append(asyncio.create_task(self._file.run()))
        self._tasks.append(asyncio.create_task(self.seeding.run()))

    async def stop(self) -> None:
        """After the last exchange: what was settled last is told to Redis, if it listens, or written down."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._file is not None:
            await self._file.write()
        if self._shared is not None and self._sharing is not None:
            self._shared.stop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._sharing, STOP_SECONDS)
