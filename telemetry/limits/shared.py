"""The limits that several processes share, in Redis: one script decides, by the server's clock."""

import asyncio
import hashlib
import os
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from telemetry.limits import script
from telemetry.limits.meters import Dimension, Meter
from telemetry.limits.store import Reply, Seed, Settlement, Use, Want

BATCH_MAX = 256
"""Operations in one call: the script holds up all other users of Redis while it runs."""
WAITING_MAX = 50_000
"""Operations that wait for Redis. Beyond it settlements are left out: leases end, and budgets are verified."""
REPLY_SECONDS = 1.0
SETTLED_MAX = 50_000
SETTLED_SECONDS = 120.0
SPENT_MAX = 10_000
_SHA = hashlib.sha1(script.SOURCE.encode(), usedforsecurity=False).hexdigest()


class Settled(msgspec.Struct, frozen=True):
    at: float
    meter: Meter
    exchange_id: UUID
    cost: int


class SharedStore:
    """Its `run` has to be running. One call is under way at a time; what comes meanwhile goes together into the next.
    It ends by `stop`, not by being cancelled: redis-py may take a cancellation for an error of the connection."""

    is_shared = True

    def __init__(self, url: str, now_ms: int = 0) -> None:
        """*now_ms*: for tests, instead of the server's time; 0: that."""
        self.now_ms = now_ms
        self._redis: Redis = Redis.from_url(
            url, socket_connect_timeout=REPLY_SECONDS, socket_timeout=REPLY_SECONDS, protocol=2, max_connections=2
        )
        self._waiting: deque[tuple[script.Operation, asyncio.Future[Any] | None]] = deque()
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._epoch = b""
        self._unverified: dict[str, Meter] = {}
        self._settled: deque[Settled] = deque(maxlen=SETTLED_MAX)
        self._recent: dict[str, script.Recent] = {}
        self.spent: dict[str, int] = {}
        """Of budgets, as last heard, without what running requests hold."""
        self.has_lost = asyncio.Event()
        """Redis does not know any more what it knew: what runs has to be renewed."""
        self.calls = 0
        self.left_out = 0

    # --- What the store is asked ------------------------------------------------------------------------------------

    async def reserve(self, want: Want) -> Reply:
        now_ms, answer = await self._ask(script.reserve(want))
        reply, unverified = script.reply_of(want, answer, now_ms)
        self._unverified |= {meter.key: meter for meter in unverified}
        self._note_spent(script.spent_of(want, answer))
        return reply

    def settle(self, settlement: Settlement) -> None:
        self.note(settlement)
        if len(self._waiting) >= WAITING_MAX:
            self.left_out += 1
            return
        self._enqueue(script.settle(settlement), None)

    def note(self, settlement: Settlement) -> None:
        """Keeps the costs for a while: Redis may have to hear of them again."""
        now = time.monotonic()
        while self._settled and self._settled[0].at < now - SETTLED_SECONDS:
            self._settled.popleft()
        want = settlement.want
        for meter, cost in zip(want.meters, settlement.used, strict=True):
            if meter.dimension is Dimension.MONEY:
                self._settled.append(Settled(now, meter, want.id, cost))

    async def renew(self, running: Sequence[Want]) -> None:
        await self._ask_all([operation for want in running if (operation := script.renew(want))[2]])

    async def push_settled(self) -> None:
        """Says again what was settled lately, and has the budgets verified that it is about."""
        settled = list(self._settled)
        await self._ask_all([script.push(each.meter, each.exchange_id, each.cost) for each in settled])
        self._unverified |= {each.meter.key: each.meter for each in settled}

    async def recent(self, meter: Meter) -> dict[UUID, int]:
        _, answer = await self._ask((script.RECENT, meter.key))
        found = self._recent[meter.key] = script.recent_of(answer)
        return found.costs

    async def seed(self, seeds: Iterable[Seed]) -> None:
        for seed in seeds:
            recent = self._recent.pop(seed.meter.key, None) or script.recent_of(
                (await self._ask((script.RECENT, seed.meter.key)))[1]
            )
            known = seed.spent - sum(recent.costs[each] for each in seed.included if each in recent.costs)
            await self._ask((script.SEED, seed.meter.key, str(known), recent.oldest_bucket))

    def unverified(self) -> list[Meter]:
        found = list(self._unverified.values())
        self._unverified.clear()
        return found

    async def read(self, meters: Sequence[Meter]) -> list[Use]:
        answers = await self._ask_all([script.read(meter) for meter in meters])
        return [script.use_of(meter, answer) for meter, answer in zip(meters, answers, strict=True)]

    async def ping(self) -> None:
        """Raises what redis-py raises."""
        await self._redis.ping()

    # --- One call at a time -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Runs until `stop`; what waits then is sent before it ends."""
        while not self._is_stopping:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._call()
        await self._redis.aclose()

    def stop(self) -> None:
        self._is_stopping = True
        self._wake.set()

    async def _call(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]
        try:
            answers = await self._run_script([operation for operation, _ in batch])
        except Exception as error:  # whatever it is: somebody waits for each of these
            for _, future in batch:
                if future is not None and not future.done():
                    future.set_exception(error)
            return
        self._note_epoch(answers.epoch)
        for (operation, future), answer in zip(batch, answers.each, strict=True):
            if future is None:
                continue
            if future.cancelled():
                self._take_back(operation, answer, answers.now_ms)
            else:
                future.set_result((answers.now_ms, answer))

    async def _run_script(self, operations: Sequence[script.Operation]) -> script.Answers:
        self.calls += 1
        packed, salt = script.encode(operations, self.now_ms), f"-{os.getpid()}-{self.calls}"
        try:
            answer = await self._redis.evalsha(_SHA, 1, script.PREFIX, packed, salt)
        except NoScriptError:
            answer = await self._redis.eval(script.SOURCE, 1, script.PREFIX, packed, salt)
        return script.Answers(*answer)

    def _take_back(self, operation: script.Operation, answer: Any, now_ms: int) -> None:
        """Nobody waits for this reservation any more: its client has left."""
        if operation[0] == script.RESERVE and answer[0] == 0:
            self._enqueue(script.undo(operation, now_ms), None)

    def _note_spent(self, spent: dict[str, int]) -> None:
        for key, units in spent.items():
            self.spent.pop(key, None)
            self.spent[key] = units
        while len(self.spent) > SPENT_MAX:
            self.spent.pop(next(iter(self.spent)))

    def _note_epoch(self, epoch: bytes) -> None:
        if self._epoch and epoch != self._epoch:
            self.has_lost.set()
        self._epoch = epoch

    async def _ask(self, operation: script.Operation) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._enqueue(operation, future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                now_ms, answer = future.result()  # it came in the moment in which the client left
                self._take_back(operation, answer, now_ms)
            raise

    async def _ask_all(self, operations: Sequence[script.Operation]) -> list[Any]:
        return [answer for _, answer in await asyncio.gather(*map(self._ask, operations))]

    def _enqueue(self, operation: script.Operation, future: "asyncio.Future[Any] | None") -> None:
        self._waiting.append((operation, future))
        self._wake.set()
