"""How credentials stand at the API, for whoever shows it: pages, commands, metrics. And how that is set back by hand.

With Redis it is asked. Without, what runs in the one process that serves asks there, and others read its file."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

import msgspec
from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError

from telemetry.credentials import statefile
from telemetry.credentials.board import Board
from telemetry.credentials.circuit import CLOSED, CircuitState, Opening
from telemetry.credentials.events import (
    Bound,
    Cooled,
    Cooling,
    Event,
    Forget,
    Limits,
    Message,
    Opened,
    Reset,
    Said,
    decode_event,
    encode,
)
from telemetry.credentials.fields import CHANNEL, STATE, field, read_state
from telemetry.credentials.headroom import headroom
from telemetry.credentials.sharing import BINDING

logger = logging.getLogger(__name__)

REPLY_SECONDS = 1.0
T = TypeVar("T")


class NotReached(Exception):
    """Nobody could be told; the sentence says why."""


class Standing(msgspec.Struct):
    """Of one credential."""

    opening: Opening = CLOSED
    coolings: dict[str, Cooling] = {}
    """By family of models."""
    limits: dict[str, Limits] = {}

    def circuit(self, now: float) -> CircuitState:
        if not self.opening.opened_at:
            return CircuitState.CLOSED
        return CircuitState.OPEN if now < self.opening.until else CircuitState.HALF_OPEN

    def cooling_now(self, now: float) -> dict[str, Cooling]:
        return {family: cooling for family, cooling in self.coolings.items() if now < cooling.until}

    def headroom(self, family: str, now: float) -> float | None:
        """The share that is left, 0 to 1; None: not known."""
        found = self.limits.get(family)
        return headroom(found.windows, now) if found else None


class Here(msgspec.Struct, frozen=True):
    """The board of this process. It belongs to the thread of its event loop, as nothing on it is locked."""

    board: Board
    loop: asyncio.AbstractEventLoop

    def ask(self, do: Callable[[Board], T]) -> T:
        """Has the event loop do it, between two requests. Raises NotReached."""
        answer: Future[T] = Future()
        self.loop.call_soon_threadsafe(lambda: answer.set_result(do(self.board)))
        try:
            return answer.result(REPLY_SECONDS)
        except TimeoutError:
            raise NotReached("The process that serves is too busy to answer: try again.") from None


_here: Here | None = None


def known_here(board: Board | None) -> None:
    """By the process that serves; None: it serves no more. To be called on its event loop."""
    global _here
    _here = None if board is None else Here(board, asyncio.get_running_loop())


def standings() -> dict[str, Standing]:
    """By key (`telemetry.credentials.board`); who is not in it is not known to have trouble."""
    found: dict[str, Standing] = {}
    for event in _state():
        match event:
            case Opened(key, opening):
                found.setdefault(key, Standing()).opening = opening
            case Cooled(key, family, cooling) if cooling is not None:
                found.setdefault(key, Standing()).coolings[family] = cooling
            case Said(key, family, limits):
                found.setdefault(key, Standing()).limits[family] = limits
            case Reset(key):
                found.setdefault(key, Standing())
    return found


def reset(key: str) -> None:
    """Closes the circuit of a credential and ends its cooling, in every process. Raises NotReached."""
    _tell(Reset(key, time.time()), lambda board: board.reset(key, time.time()))


def forget_sessions(key: str = "") -> None:
    """Which sessions go to that credential, or to any. Raises NotReached."""
    _tell(Forget(key), lambda board: board.forget(key))


def _state() -> Iterable[Event]:
    if settings.REDIS_URL:
        try:
            with _redis() as redis:
                return list(read_state(redis.hgetall(STATE)))
        except (RedisError, OSError):
            logger.warning("Redis does not answer: how credentials stand is not known here")
            return []
    if _here is not None:
        return _here.ask(Board.state)
    return statefile.read(settings.NEXUS_DATA)


def _tell(event: Reset | Forget, do: Callable[[Board], None]) -> None:
    if not settings.REDIS_URL:
        if _here is None:
            raise NotReached("Only the process that serves can do that: use its admin.")
        _here.ask(do)
        return
    try:
        with _redis() as redis:
            if isinstance(event, Reset):
                names = [name for name in redis.hkeys(STATE) if _is_about(name, event.key)]
                if names:
                    redis.hdel(STATE, *names)
                redis.hset(STATE, field(event), encode(event))
            else:
                _forget_kept(redis, event.key)
            redis.publish(CHANNEL, encode(Message("", [event])))
    except (RedisError, OSError) as error:
        raise NotReached(f"Redis does not answer ({type(error).__name__}): try again.") from None


def _is_about(name: bytes, key: str) -> bool:
    kind, _, rest = name.decode("utf-8", "replace").partition(" ")
    return kind in ("opened", "cooled") and rest.partition(" ")[0] == key


def _forget_kept(redis: Redis, key: str) -> None:
    for name in redis.scan_iter(f"{BINDING}*", count=1000):
        if not key or _key_of(redis.get(name)) == key:
            redis.delete(name)


def _key_of(found: Any) -> str:
    try:
        bound = decode_event.decode(found)
    except (ValueError, TypeError):
        return ""
    return bound.key if isinstance(bound, Bound) else ""


def _redis() -> Redis:
    return Redis.from_url(settings.REDIS_URL, socket_connect_timeout=REPLY_SECONDS, socket_timeout=REPLY_SECONDS)
