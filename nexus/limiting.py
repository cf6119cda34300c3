"""Where one process counts what is used of limits and budgets, and what runs beside that."""

import asyncio
from collections.abc import Callable, Sequence

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
        self._file = None if self._shared else StateFile(memory, settings.NEXUS_DATA)
        self.store: Store = self._shared or memory
        self.seeding = Seeding(self.store)
        self._memory = memory
        self._tasks: list[asyncio.Task[None]] = []
        self._sharing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._shared is not None:
            self._sharing = asyncio.create_task(self._shared.run())
        if self._file is not None:
            self._file.open()
            self._tasks.append(asyncio.create_task(self._file.run()))
        reading.count_here(self._memory)
        self._tasks.append(asyncio.create_task(self.seeding.run()))

    async def stop(self) -> None:
        """After the last exchange: what was settled last is told to Redis, if it listens, or written down."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        reading.count_nowhere()
        if self._file is not None:
            self._file.close()
        if self._shared is not None and self._sharing is not None:
            self._shared.stop()
            # Not `wait_for`: a server that ends at once has cancelled this task, and the record has yet to be closed.
            await asyncio.wait([self._sharing], timeout=STOP_SECONDS)
            self._sharing.cancel()
