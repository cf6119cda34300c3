"""A light load generator: a closed loop of keep-alive connections over HTTP/1.1, counted and timed.

As a library, or as a process: `python -m bench.load URL --connections 32 --requests 1000`.
"""

import argparse
import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from urllib.parse import urlsplit

import httptools
import uvloop


class Broken(Exception):
    """The connection could not be made, or ended before the answer did."""


@dataclass(frozen=True, slots=True)
class Target:
    """A request, ready to be written, and how its answer must end."""

    host: str
    port: int
    request: bytes
    ending: bytes = b""

    @classmethod
    def post(cls, url: str, body: bytes, headers: dict[str, str], ending: bytes = b"") -> "Target":
        parts = urlsplit(url)
        lines = [f"POST {parts.path or '/'} HTTP/1.1", f"host: {parts.netloc}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join(lines) + "\r\n\r\n"
        return cls(parts.hostname or "127.0.0.1", parts.port or 80, head.encode() + body, ending)


@dataclass(slots=True)
class Result:
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    """Without a complete answer."""
    cut_short: int = 0
    """Complete for HTTP, but without the ending that was asked for."""
    totals: list[float] = field(default_factory=list)
    first_bytes: list[float] = field(default_factory=list)
    """Seconds from the request to the first byte of the answer's body."""

    @property
    def count(self) -> int:
        return self.statuses.total() + self.broken

    @property
    def errors(self) -> int:
        refused = sum(count for status, count in self.statuses.items() if not 200 <= status < 300)
        return refused + self.broken + self.cut_short

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return (self.count - self.errors) / self.seconds if self.seconds else 0.0


def percentile(values: list[float], percent: float) -> float:
    """The nearest-rank percentile, NaN of nothing."""
    if not values:
        return math.nan
    return sorted(values)[max(math.ceil(len(values) * percent / 100) - 1, 0)]


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._lost = False
        self._watch_first_byte = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (for the type: TCP gives nothing else)
        self._transport = transport

    async def ask(self, target: Target) -> "Answer":
        """Raises Broken."""
        self._begin(target)
        await self._answered
        return Answer(
            status=self._parser.get_status_code(),
            total=perf_counter() - self._started,
            first_byte=self._first_byte - self._started,
            ending=self._tail,
        )

    async def ask_for_first_byte(self, target: Target) -> int:
        """The status, as soon as the body has begun; the rest is still to come. Raises Broken."""
        self._begin(target)
        self._watch_first_byte = True
        await self._answered
        return self._parser.get_status_code()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _begin(self, target: Target) -> None:
        if self._lost or self._transport is None:
            raise Broken
        self._parser = httptools.HttpResponseParser(self)
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keep = len(target.ending)
        self._tail = b""
        self._first_byte = 0.0
        self._started = perf_counter()
        self._transport.write(target.request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()

    def on_body(self, body: bytes) -> None:
        if not self._first_byte:
            self._first_byte = perf_counter()
            if self._watch_first_byte:
                self._finish()
        if self._keep:
            self._tail = (self._tail + body)[-self._keep :]

    def on_message_complete(self) -> None:
        self._first_byte = self._first_byte or perf_counter()
        self._lost = self._lost or not self._parser.should_keep_alive()
        self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        answered = getattr(self, "_answered", None)
        if answered is not None and not answered.done():
            answered.set_exception(Broken())

    def _finish(self) -> None:
        if not self._answered.done():
            self._answered.set_result(None)
