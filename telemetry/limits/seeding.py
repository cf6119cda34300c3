"""Keeps the counters of budgets at what the record says: tells it to those that do not know it, and looks again where
something may have been missed."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import DatabaseError, close_old_connections

from telemetry.limits.meters import Meter, as_usd
from telemetry.limits.spending import seed_of
from telemetry.limits.store import Seed, Store

logger = logging.getLogger(__name__)

WAIT_SECONDS = 2.0
"""How long a request waits for a budget of which nobody knows what is spent."""
POLL_SECONDS = 0.05
SETTLE_SECONDS = 0.1
"""Between the snapshot of the record and the question what is recent: by then, what is in the snapshot is settled."""
TICK_SECONDS = 1.0
VERIFY_SECONDS = 60.0
"""Message batches that were booked, new prices, what killed processes left behind: within a minute they count."""
VERIFIED_MAX = 100
"""At one tick; the others follow."""
SEEN_MAX = 10_000


class Seeding:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._busy: dict[str, asyncio.Future[None]] = {}
        self._seen: dict[str, tuple[Meter, float]] = {}
        """Budgets in use here, and when each was looked at last."""
        self._waiting: dict[str, Meter] = {}
        self._failing = False

    def saw(self, meter: Meter) -> None:
        """A budget that a request counts in."""
        if meter.key not in self._seen:
            if len(self._seen) >= SEEN_MAX:
                self._seen.pop(next(iter(self._seen)))
            self._seen[meter.key] = (meter, time.monotonic())

    async def seed(self, meters: Sequence[Meter]) -> None:
        """Waits until the store knows what is spent, but not for long."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await asyncio.gather(*(self._known(meter) for meter in meters))
        except (TimeoutError, DatabaseError) as error:
            self._tell(error)

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                await self._tick()
                self._failing = False
            except Exception as error:  # whatever it is: budgets that are not looked after would drift
                self._tell(error)

    async def _tick(self) -> None:
        self._waiting |= {meter.key: meter for meter in self._store.unverified()}
        now, clock = datetime.now(UTC), time.monotonic()
        for key, (meter, looked_at) in list(self._seen.items()):
            if meter.account is not None and meter.account.ends_at is not None and meter.account.ends_at < now:
                del self._seen[key]
            elif looked_at < clock - VERIFY_SECONDS:
                self._seen[key] = (meter, clock)
                if await self._store.claim(meter, VERIFY_SECONDS - 2 * TICK_SECONDS):
                    self._waiting[key] = meter
        for key in list(self._waiting)[:VERIFIED_MAX]:
            await self._verify(self._waiting[key])
            del self._waiting[key]

    async def _known(self, meter: Meter) -> None:
        """Many may ask at once: one of this process, and one of all processes, reads the record."""
        if (busy := self._busy.get(meter.key)) is None:
            busy = self._busy[meter.key] = asyncio.ensure_future(self._seed_once(meter))
            busy.add_done_callback(lambda _: self._busy.pop(meter.key, None))
        await asyncio.shield(busy)

    async def _seed_once(self, meter: Meter) -> None:
        claimed = await self._store.claim(meter, WAIT_SECONDS)
        for _ in range(round(WAIT_SECONDS / POLL_SECONDS)):
            (use,) = await self._store.read([meter])
            if use.is_known:
                return
            if claimed:
                break
            await asyncio.sleep(POLL_SECONDS)
        await self._seed(meter)

    async def _verify(self, meter: Meter) -> None:
        (before,) = await self._store.read([meter])
        await self._seed(meter)
        (after,) = await self._store.read([meter])
        found = (after.used - after.held) - (before.used - before.held)
        if before.is_known and found:
            logger.info("budget %s: the record knows of %s USD that the counter did not", meter.label, as_usd(found))

    async def _seed(self, meter: Meter) -> None:
        loop = asyncio.get_running_loop()

        def recent() -> Mapping[UUID, int]:
            time.sleep(SETTLE_SECONDS)
            return asyncio.run_coroutine_threadsafe(self._store.recent(meter), loop).result(WAIT_SECONDS)

        await self._store.seed([await sync_to_async(_in_own_connection, thread_sensitive=False)(meter, recent)])

    def _tell(self, error: Exception) -> None:
        if not self._failing:
            logger.error("what is spent of a budget cannot be told for sure: %s", type(error).__name__)
        self._failing = True


def _in_own_connection(meter: Meter, recent: Callable[[], Mapping[UUID, int]]) -> Seed:
    close_old_connections()
    try:
        return seed_of(meter, recent)
    finally:
        close_old_connections()
