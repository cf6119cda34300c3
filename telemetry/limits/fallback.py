"""Limits that several processes share as long as Redis answers, and that each counts for itself while it does not."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from redis.exceptions import RedisError

from telemetry.limits import standing
from telemetry.limits.memory import MemoryStore
from telemetry.limits.meters import Meter
from telemetry.limits.shared import SharedStore
from telemetry.limits.standing import Standing
from telemetry.limits.store import Reply, Seed, Settlement, Unknown, Use, Want

logger = logging.getLogger(__name__)

AWAY = (RedisError, OSError, TimeoutError)
TRY_SECONDS = 1.0
T = TypeVar("T")


class FallbackStore:
    """Its `run` has to be running."""

    def __init__(self, shared: SharedStore, memory: MemoryStore, running: Callable[[], Sequence[Want]]) -> None:
        """*running*: what holds places and money now."""
        self._shared = shared
        self._memory = memory
        self._running = running
        self._is_stopping = False
        self._wake = asyncio.Event()
        self._guessed: dict[str, Meter] = {}
        self.alone_since: datetime | None = None
        self.fallbacks = 0
        """How often Redis was lost."""
        shared.on_loss = self._wake.set

    @property
    def is_shared(self) -> bool:
        return self.alone_since is None

    async def reserve(self, want: Want) -> Reply:
        if self.is_shared:
            try:
                return await self._shared.reserve(want)
            except AWAY as error:
                self._go_alone(error)
        reply = await self._memory.reserve(want)
        if isinstance(reply, Unknown) and (known := self._last_heard(reply.meters)):
            self._memory.seed_now(known)
            self._guessed |= {seed.meter.key: seed.meter for seed in known}
            reply = await self._memory.reserve(want)
        return reply

    def settle(self, settlement: Settlement) -> None:
        if self.is_shared:
            self._shared.settle(settlement)
        else:
            self._shared.note(settlement)  # for when it is back
            self._memory.settle(settlement)

    async def renew(self, running: Sequence[Want]) -> None:
        await self._either(self._shared.renew, self._memory.renew, running)

    async def recent(self, meter: Meter) -> dict[UUID, int]:
        return await self._either(self._shared.recent, self._memory.recent, meter)

    async def claim(self, meter: Meter, seconds: float) -> bool:
        return await self._either(self._shared.claim, self._memory.claim, meter, seconds)

    async def seed(self, seeds: Iterable[Seed]) -> None:
        await self._either(self._shared.seed, self._memory.seed, list(seeds))

    async def read(self, meters: Sequence[Meter]) -> list[Use]:
        return await self._either(self._shared.read, self._memory.read, meters)

    def unverified(self) -> list[Meter]:
        if self.is_shared:
            return self._shared.unverified()
        guessed = list(self._guessed.values())
        self._guessed.clear()
        return guessed + self._memory.unverified()

    async def run(self) -> None:
        """Runs until `stop`: asks Redis, while it is away, whether it is back, and tells it what it has lost."""
        standing.told_by(lambda: Standing(self.alone_since, self.fallbacks))
        calling = asyncio.create_task(self._shared.run())
        try:
            while not self._is_stopping:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), TRY_SECONDS)
                self._wake.clear()
                await self._recover()
        finally:
            standing.told_by(None)
            self._shared.stop()
            await calling

    def stop(self) -> None:
        self._is_stopping = True
        self._wake.set()

    async def _recover(self) -> None:
        if self.is_shared and not self._shared.has_lost:
            return
        try:
            await self._shared.probe()
            self._shared.has_lost = False
            self._share_again()  # in one step with the next line: nothing that is settled falls between
            await self._shared.tell_again(self._running())
        except AWAY as error:
            self._go_alone(error)

    def _share_again(self) -> None:
        if self.alone_since is not None:
            logger.warning("Redis answers again: limits are shared by all processes")
            self.alone_since = None

    async def _either(
        self, shared: Callable[..., Awaitable[T]], memory: Callable[..., Awaitable[T]], *arguments: object
    ) -> T:
        if self.is_shared:
            try:
                return await shared(*arguments)
            except AWAY as error:
                self._go_alone(error)
        return await memory(*arguments)

    def _go_alone(self, error: Exception) -> None:
        if self.alone_since is not None:
            return
        self._memory.begin_anew(self._running())
        self.alone_since = datetime.now(UTC)
        self.fallbacks += 1
        logger.error(
            "Redis does not answer (%s): each process counts limits for itself until it does", type(error).__name__
        )

    def _last_heard(self, meters: Iterable[Meter]) -> list[Seed]:
        spent = self._shared.spent
        return [Seed(meter, spent[meter.key], frozenset()) for meter in meters if meter.key in spent]
