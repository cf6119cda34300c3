"""Guards of what people and scripts type into, made of django-ratelimit: counters in Django's cache, which processes
share where there is Redis. While Redis is away each process counts for itself: nobody is locked out, and nobody may
guess without a limit."""

import threading
import time
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django_ratelimit.core import _split_rate, get_usage
from redis.exceptions import RedisError

RETRY_SECONDS = 60
ALONE_MAX = 10_000
"""Addresses and names that one process counts; beyond it those go that were seen longest ago."""


def is_exhausted(request: HttpRequest, group: str, rate: str, key: str, *, counts: bool) -> bool:
    """Whether there were as many as *rate* allows (`10/m`) for this key already; this one is counted if *counts*."""
    try:
        usage = get_usage(request, group, key=_constant(key), rate=rate, increment=counts)
    except (RedisError, OSError):
        usage = _alone.usage(group, rate, key, counts=counts)
    if usage is None:  # RATELIMIT_ENABLE is off
        return False
    return bool(usage["should_limit"] if counts else usage["count"] >= usage["limit"])


class Alone:
    """The counters of one process, in windows that begin with the clock."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], int] = {}
        self._lock = threading.Lock()

    def usage(self, group: str, rate: str, key: str, *, counts: bool) -> dict[str, Any]:
        limit, seconds = _split_rate(rate)
        of = (group, key, int(time.time()) // seconds)
        with self._lock:
            count = self._counts.pop(of, 0) + counts
            if len(self._counts) >= ALONE_MAX:
                self._counts.pop(next(iter(self._counts)))
            self._counts[of] = count
        return {"count": count, "limit": limit, "should_limit": count > limit}


def address_of(request: HttpRequest) -> str:
    """Of the client, as the server found it: X-Forwarded-For counts there, and from TRUSTED_PROXIES only."""
    address: str = request.META.get("REMOTE_ADDR", "") or "unknown"
    return address


def _constant(key: str) -> Callable[[Any, HttpRequest], str]:
    return lambda group, request: key


_alone = Alone()
