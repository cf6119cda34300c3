"""What processes know of credentials' health, shared through Redis: a channel for what is new, a hash for who begins
later, keys that expire for sessions and belongings. While Redis is away each process goes by what it knows itself."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping
from typing import cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from accounts.ids import new_id
from telemetry.credentials.board import Board
from telemetry.credentials.events import Bound, Cooled, Event, Message, Opened, Owned, Reset, Said, decode, encode
from telemetry.credentials.fields import CHANNEL, STATE, field, read_state

logger = logging.getLogger(__name__)

AWAY = (RedisError, OSError, TimeoutError)
TELL_SECONDS = 0.05
COUNTS_SECONDS = 1.0
"""Between two reports of calls and limits that nobody has to hear of at once."""
TRY_SECONDS = 1.0
REPLY_SECONDS = 1.0
BATCH_MAX = 500
STATE_SECONDS = 8 * 86_400
"""Longer than the API's longest window."""
BINDING_SECONDS = 3600
"""As long as the API keeps a prompt cache, at most."""
OWNED_SECONDS = 30 * 86_400
BINDING, OWNER = "nexus:credentials:session:", "nexus:credentials:made:"


class Sharing:
    """Its `run` has to be running."""

    def __init__(self, board: Board, url: str) -> None:
        self._board = board
        self._redis: Redis = Redis.from_url(
            url, socket_connect_timeout=REPLY_SECONDS, socket_timeout=REPLY_SECONDS, protocol=2
        )
        self._sender = str(new_id())
        self._is_stopping = False
        self.is_connected = False

    async def run(self) -> None:
        """Runs until `stop`."""
        telling = asyncio.create_task(self._tell_on())
        try:
            while not self._is_stopping:
                try:
                    await self._listen()
                except AWAY as error:
                    self._lost(error)
                    await asyncio.sleep(TRY_SECONDS)
        finally:
            await telling
            await self._redis.aclose()

    def stop(self) -> None:
        """What is known is still said, where Redis listens."""
        self._is_stopping = True

    async def session(self, session: str) -> str | None:
        """The credential that it was bound to in any process. None also where Redis does not answer."""
        return await self._ask(BINDING + session)

    async def owner(self, made_id: str) -> str | None:
        return await self._ask(OWNER + made_id)

    async def _ask(self, name: str) -> str | None:
        if not self.is_connected:
            return None
        try:
            found = await self._redis.get(name)
        except AWAY:
            return None
        return found.decode("utf-8", "replace") if isinstance(found, bytes) else None

    async def _listen(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(CHANNEL)
            self._board.restore(read_state(cast(Mapping[bytes, bytes], await self._redis.hgetall(STATE))), time.time())
            if not self.is_connected:
                self._board.news.extend(self._board.state())  # Redis may have lost what we know
            self.is_connected = True
            while not self._is_stopping:
                message = await channel.get_message(timeout=REPLY_SECONDS / 2)
                if message is not None:
                    self._hear(message["data"])

    def _hear(self, data: bytes) -> None:
        try:
            message = decode(data)
        except ValueError:
            return  # of another version
        if message.sender != self._sender:
            for event in message.events:
                self._board.hear(event, time.time())

    async def _tell_on(self) -> None:
        counted_at = 0.0
        while not self._is_stopping:
            await asyncio.sleep(TELL_SECONDS)
            is_time = time.monotonic() >= counted_at + COUNTS_SECONDS
            if not self.is_connected or not (is_time or self._board.news):
                continue
            counted_at = time.monotonic() if is_time else counted_at
            await self._tell_or_keep(self._board.take_news() if is_time else _drained(self._board))
        with contextlib.suppress(*AWAY):
            await self._tell(self._board.take_news())

    async def _tell_or_keep(self, news: list[Event]) -> None:
        """What cannot be told waits for the next time; the oldest go where there are too many."""
        try:
            await self._tell(news)
        except AWAY:
            self._board.news.extendleft(reversed(news))

    async def _tell(self, news: list[Event]) -> None:
        for start in range(0, len(news), BATCH_MAX):
            events = news[start : start + BATCH_MAX]
            async with self._redis.pipeline(transaction=False) as pipe:
                _keep(pipe, events)
                pipe.publish(CHANNEL, encode(Message(self._sender, events)))
                await pipe.execute()

    def _lost(self, error: Exception) -> None:
        if self.is_connected:
            logger.error("Redis does not answer (%s): credentials' health is not shared", type(error).__name__)
        self.is_connected = False


def _drained(board: Board) -> list[Event]:
    found = list(board.news)
    board.news.clear()
    return found


def _keep(pipe: Pipeline, events: Iterable[Event]) -> None:
    for event in events:
        match event:
            case Cooled(cooling=None):
                pipe.hdel(STATE, field(event))
            case Opened() | Cooled() | Said():
                pipe.hset(STATE, field(event), encode(event))
                pipe.expire(STATE, STATE_SECONDS)
            case Bound(session, key):
                pipe.set(BINDING + session, key, ex=BINDING_SECONDS)
            case Owned(made_id, key):
                pipe.set(OWNER + made_id, key, ex=OWNED_SECONDS)
            case Reset():
                pipe.hset(STATE, field(event), encode(event))
