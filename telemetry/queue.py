"""What waits in Celery's queue. Messages carry when they were sent (SENT_AT), so that the oldest one has an age."""

import functools
import time
from typing import Any, NamedTuple

import msgspec
import redis
from django.conf import settings
from kombu.transport import memory

SENT_AT = "nexus_sent_at"
"""A header of messages: seconds since 1970."""
NAME = "celery"
REDIS_SECONDS = 2


class Waiting(NamedTuple):
    tasks: int
    oldest_seconds: float | None
    """None: nothing waits, or it does not say since when."""


class _Headers(msgspec.Struct):
    sent_at: float | None = msgspec.field(default=None, name=SENT_AT)


class _Message(msgspec.Struct):
    headers: _Headers


def waiting() -> Waiting:
    """Not what a worker has taken. Raises what Redis raises."""
    return _in_redis(settings.REDIS_URL) if settings.REDIS_URL else _in_memory()


def _in_redis(url: str) -> Waiting:
    with _redis(url).pipeline(transaction=False) as pipeline:
        pipeline.llen(NAME)
        pipeline.lindex(NAME, -1)
        tasks, oldest = pipeline.execute()
    return Waiting(tasks, None if oldest is None else _age(oldest))


def _in_memory() -> Waiting:
    queue = memory.Channel.queues.get(NAME)
    if queue is None:
        return Waiting(0, None)
    with queue.mutex:
        tasks, oldest = len(queue.queue), queue.queue[0] if queue.queue else None
    return Waiting(tasks, None if oldest is None else _age(msgspec.json.encode({"headers": oldest["headers"]})))


def _age(message: bytes) -> float | None:
    try:
        sent_at = msgspec.json.decode(message, type=_Message).headers.sent_at
    except msgspec.DecodeError:
        return None
    return None if sent_at is None else max(0.0, time.time() - sent_at)


@functools.cache
def _redis(url: str) -> Any:
    return redis.Redis.from_url(url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS)
