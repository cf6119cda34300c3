"""The limits that several processes share, in Redis: one script decides, by the server's clock."""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
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


Future = asyncio.Future[Any]
Asked = tuple[script.Operation, Future | None]
"""None: nobody waits for the answer."""


class Settled(msgspec.Struct, frozen=True):
    at: float
    meter: Meter
    exchange_id: UUID
    cost: int


class SharedStore:
    """Its `run` has to be running. One call is under way at a time; what comes meanwhile goes together into the next
    one."""

    is_shared = True

    def __init__(self, url: str, now_ms: int = 0) -> None:
        """*now_ms*: for tests, instead of the server's time; 0: that."""
        self.now_ms = now_ms
        self._redis: Redis = Redis.from_url(
            url, socket_connect_timeout=REPLY_SECONDS, socket_timeout=REPLY_SECONDS, protocol=2, max_connections=1
        )
        self._waiting: deque[Asked] = deque()
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._epoch = b""
        self._unverified: dict[str, Meter] = {}
        self._settled: deque[Settled] = deque(maxlen=SETTLED_MAX)
        self._recent: dict[str, script.Recent] = {}
        self.spent: dict[str, int] = {}
        """Of budgets, as last heard, without what running requests hold."""
        self.has_lost = False
        """Redis does not know any more what it knew: what runs has to be renewed."""
        self.on_loss: Callable[[], None] = lambda: None
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
        await self._ask_all(_renewals(running))

    async def tell_again(self, running: Sequence[Want]) -> None:
        """What it may have lost: what runs, and what was settled lately. The budgets that it is about are verified.
        Whatever is asked or settled afterwards comes after it."""
        settled = list(self._settled)
        pushes = [script.push(each.meter, each.exchange_id, each.cost) for each in settled]
        await self._ask_all([*_renewals(running), *pushes])
        self._unverified |= {each.meter.key: each.meter for each in settled}

    async def recent(self, meter: Meter) -> dict[UUID, int]:
        _, answer = await self._ask((script.RECENT, meter.key))
        found = self._recent[meter.key] = script.recent_of(answer)
        return found.costs

    async def claim(self, meter: Meter, seconds: float) -> bool:
        _, answer = await self._ask((script.CLAIM, meter.key, round(seconds * 1000)))
        return bool(answer)

    async def seed(self, seeds: Iterable[Seed]) -> None:
        for seed in seeds:
            recent = self._recent.pop(seed.meter.key, None) or script.recent_of(
                (await self._ask((script.RECENT, seed.meter.key)))[1]
            )
            known = seed.spent - sum(recent.costs[each] for each in seed.included if each in recent.costs)
            _, spent = await self._ask((script.SEED, seed.meter.key, str(known), recent.oldest_bucket))
            self._note_spent({seed.meter.key: int(spent)})

    def unverified(self) -> list[Meter]:
        found = list(self._unverified.values())
        self._unverified.clear()
        return found

    async def read(self, meters: Sequence[Meter]) -> list[Use]:
        answers = await self._ask_all([script.read(meter) for meter in meters])
        uses = [script.use_of(meter, answer) for meter, answer in zip(meters, answers, strict=True)]
        self._note_spent({use.meter.key: use.used - use.held for use in uses if use.meter.account and use.is_known})
        return uses

    async def probe(self) -> None:
        """Raises what redis-py raises where Redis does not answer, or does not write: it may be full, or a replica."""
        await self._ask((script.RENEW, "probe", [("probe", script.PLACES, "1")]))

    # --- One call at a time -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Runs until `stop`. (Where it is cancelled, the client of Redis may not notice.)"""
        try:
            while not self._is_stopping:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting and await self._call():
                    pass
        finally:
            await self._redis.aclose()

    def stop(self) -> None:
        """What waits is still said, where Redis listens."""
        self._is_stopping = True
        self._wake.set()

    async def _call(self) -> bool:
        batch = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]
        try:
            answers = await self._run_script([operation for operation, _ in batch])
        except BaseException as error:
            self._give_up(batch, error if isinstance(error, Exception) else ConnectionError("stopped"))
            if not isinstance(error, Exception):
                raise
            return False
        self._note_epoch(answers.epoch)
        for (operation, future), answer in zip(batch, answers.each, strict=True):
            self._answer(operation, future, answer, answers.now_ms)
        return True

    def _answer(self, operation: script.Operation, future: Future | None, answer: Any, now_ms: int) -> None:
        if future is None:
            return
        if future.cancelled():
            self._take_back(operation, answer, now_ms)
        elif isinstance(answer, Exception):  # of this operation alone
            future.set_exception(answer)
        else:
            future.set_result((now_ms, answer))

    def _give_up(self, batch: Iterable[Asked], error: Exception) -> None:
        """Also on questions that wait: nobody waits for more than one answer that does not come. Settlements that were
        not sent yet stay for later."""
        for _, future in (*batch, *self._waiting):
            if future is not None and not future.done():
                future.set_exception(error)
        self._waiting = deque((operation, future) for operation, future in self._waiting if future is None)

    async def _run_script(self, operations: Sequence[script.Operation]) -> script.Answers:
        self.calls += 1
        packed, salt = script.encode(operations, self.now_ms), f"-{os.getpid()}-{self.calls}"
        try:
            answer = await self._redis.evalsha(script.SHA, 1, script.PREFIX, packed, salt)
        except NoScriptError:
            answer = await self._redis.eval(script.SOURCE, 1, script.PREFIX, packed, salt)
        return script.Answers(*answer)

    def _take_back(self, operation: script.Operation, answer: Any, now_ms: int) -> None:
        """Nobody waits for this reservation any more: its client has left."""
        if operation[0] == script.RESERVE and isinstance(answer, list) and answer[0] == 0:
            self._enqueue(script.undo(operation, now_ms), None)

    def _note_spent(self, spent: dict[str, int]) -> None:
        for key, units in spent.items():
            self.spent.pop(key, None)
            self.spent[key] = units
        while len(self.spent) > SPENT_MAX:
            self.spent.pop(next(iter(self.spent)))

    def _note_epoch(self, epoch: bytes) -> None:
        if self._epoch and epoch != self._epoch:
            self.has_lost = True
            self.on_loss()
        self._epoch = epoch

    async def _ask(self, operation: script.Operation) -> Any:
        future = self._enqueue_question(operation)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                now_ms, answer = future.result()  # it came in the moment in which the client left
                self._take_back(operation, answer, now_ms)
            raise

    async def _ask_all(self, operations: Sequence[script.Operation]) -> list[Any]:
        """They wait in a row before this is first waited for."""
        return [answer for _, answer in await asyncio.gather(*map(self._enqueue_question, operations))]

    def _enqueue_question(self, operation: script.Operation) -> Future:
        future: Future = asyncio.get_running_loop().create_future()
        self._enqueue(operation, future)
        return future

    def _enqueue(self, operation: script.Operation, future: Future | None) -> None:
        self._waiting.append((operation, future))
        self._wake.set()


def _renewals(running: Sequence[Want]) -> list[script.Operation]:
    return [operation for want in running if (operation := script.renew(want))[2]]
