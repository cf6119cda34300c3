"""How full meters are, for whoever shows it: pages, commands and metrics. Nothing here is on the way of a request.

With Redis it is asked. Without, the meters are in the memory of the one process that serves: what runs in that process
asks there, and others read the file that it writes."""

import asyncio
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec
from django.conf import settings
from redis.exceptions import RedisError

from telemetry.limits.asking import read_now
from telemetry.limits.memory import MemoryStore
from telemetry.limits.meters import Meter
from telemetry.limits.statefile import is_served, read_state
from telemetry.limits.store import Use

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 1.0


class Source(StrEnum):
    """Where figures are from."""

    REDIS = "redis"
    PROCESS = "process"
    ALONE = "alone"
    AWAY = "away"
    FILE = "file"
    LEFT = "left"
    NOBODY = "nobody"


SENTENCES = {
    Source.REDIS: "From Redis, where all processes count.",
    Source.PROCESS: "From the process that serves.",
    Source.ALONE: "Redis does not answer: each process counts for itself, and these are the counts of one of them.",
    Source.AWAY: "Redis does not answer: each process counts for itself, which cannot be seen from here.",
    Source.FILE: "From the file of the process that serves, written {age} ago.",
    Source.LEFT: "Nobody serves now. From the file of the process that served last, written {age} ago.",
    Source.NOBODY: "Nobody serves now, and nothing is counted.",
}


class Reading(msgspec.Struct, frozen=True):
    uses: list[Use]
    source: Source
    age_seconds: float = 0.0
    """Of a file: since something was counted last, as nothing is written where nothing changes."""

    @property
    def sentence(self) -> str:
        return SENTENCES[self.source].format(age=_age(self.age_seconds))

    def as_dict(self) -> dict[str, Any]:
        return {"source": self.source.value, "age_seconds": round(self.age_seconds, 1), "sentence": self.sentence}


class Here(msgspec.Struct, frozen=True):
    """The store of this process. It belongs to the thread of its event loop, as nothing in it is locked."""

    store: MemoryStore
    loop: asyncio.AbstractEventLoop
    thread_id: int

    def read(self, meters: Sequence[Meter]) -> list[Use]:
        """Has the event loop look, between two requests. Raises TimeoutError, or RuntimeError if it is closed."""
        if threading.get_ident() == self.thread_id:
            return self.store.read_now(meters)
        answer: Future[list[Use]] = Future()
        self.loop.call_soon_threadsafe(lambda: answer.set_result(self.store.read_now(meters)))
        return answer.result(ANSWER_SECONDS)


_here: Here | None = None


def count_here(store: MemoryStore) -> None:
    """Said by the process that serves, in its event loop."""
    global _here
    _here = Here(store, asyncio.get_running_loop(), threading.get_ident())


def count_nowhere() -> None:
    global _here
    _here = None


def uses(meters: Sequence[Meter]) -> list[Use]:
    return read(meters).uses


def read(meters: Sequence[Meter]) -> Reading:
    """In the same order. Not to be called in the event loop where there is Redis: it waits for the answer."""
    if settings.REDIS_URL:
        try:
            return Reading(read_now(meters) if meters else [], Source.REDIS)
        except (RedisError, OSError) as error:
            logger.debug("Redis cannot be asked for limits: %s", type(error).__name__)
            return _in_memory(meters, Source.ALONE) or _nothing(meters, Source.AWAY)
    return _in_memory(meters, Source.PROCESS) or _from_file(meters)


def _in_memory(meters: Sequence[Meter], source: Source) -> Reading | None:
    if _here is None:
        return None
    try:
        return Reading(_here.read(meters), source)
    except (TimeoutError, RuntimeError):  # the process is about to end
        return None


def _from_file(meters: Sequence[Meter]) -> Reading:
    state = read_state(settings.NEXUS_DATA)
    if state is None:
        return _nothing(meters)
    store = MemoryStore()
    store.restore(state, with_running=True)
    age = max(0.0, datetime.now(UTC).timestamp() - state.at_ms / 1000)
    return Reading(store.read_now(meters), Source.FILE if is_served(settings.NEXUS_DATA) else Source.LEFT, age)


def _nothing(meters: Sequence[Meter], source: Source = Source.NOBODY) -> Reading:
    is_known = source is Source.NOBODY
    return Reading([Use(meter, 0, is_known=is_known and meter.account is None) for meter in meters], source)


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
