"""Tells the counters of budgets what the record knows."""

import asyncio
from collections.abc import Sequence

from asgiref.sync import sync_to_async

from telemetry.limits.meters import Meter
from telemetry.limits.spending import seed_of
from telemetry.limits.store import Store


class Seeding:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._one_at_a_time = asyncio.Lock()

    async def seed(self, meters: Sequence[Meter]) -> None:
        async with self._one_at_a_time:
            for use in await self._store.read(meters):
                if not use.is_known:
                    await self._seed(use.meter)

    async def _seed(self, meter: Meter) -> None:
        recent = await self._store.recent(meter)
        await self._store.seed([await sync_to_async(seed_of, thread_sensitive=False)(meter, recent)])
