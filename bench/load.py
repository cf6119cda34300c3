"""A light load generator: a closed loop of keep-alive connections over HTTP/1.1, counted and timed.

As a library, or as a process: `python -m bench.load URL --connections 32 --requests 1000`.
"""

import argparse
import asyncio
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop

GRACE_SECONDS = 15
"""How long answers may be late after the load has ended, before they count as broken."""


class Broken(Exception):
    """The connection ended before the answer did."""


@dataclass(frozen=True, slots=True)
class Target:
    """A request ready to be written, and how the body of its answer must end."""

    host: str
    port: int
    request: bytes
    ending: bytes = b""

    @classmethod
    def post(cls, url: str, body: bytes, headers: dict[str, str], ending: bytes = b"") -> "Target":
        parts = urlsplit(url)
        fields = {"host": parts.netloc, "content-length": str(len(body))} | headers
        lines = [f"POST {parts.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        head = "\r\n".join(lines) + "\r\n\r\n"
        return cls(parts.hostname or "", parts.port or 80, head.encode() + body, ending)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    total: float
    first_byte: float
    """Seconds from the request to the first byte of the body."""
    tail: bytes


@dataclass(slots=True)
class Result:
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    """Requests without a complete answer."""
    cut_short: int = 0
    """Answers complete for HTTP, but without the ending they must have."""
    totals: list[float] = field(default_factory=list)
    first_bytes: list[float] = field(default_factory=list)

    @property
    def count(self) -> int:
        return self.statuses.total() + self.broken

    @property
    def errors(self) -> int:
        refused = sum(number for status, number in self.statuses.items() if not 200 <= status < 300)
        return refused + self.broken + self.cut_short

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return (self.count - self.errors) / self.seconds if self.seconds else 0.0

    def note(self, answer: Answer, ending: bytes) -> None:
        self.statuses[answer.status] += 1
        if not 200 <= answer.status < 300:
            return
        if not answer.tail.endswith(ending):
            self.cut_short += 1
        self.totals.append(answer.total)
        self.first_bytes.append(answer.first_byte)


def percentile(values: list[float], percent: float) -> float:
    """By nearest rank; NaN of nothing."""
    if not values:
        return math.nan
    return sorted(values)[max(math.ceil(len(values) * percent / 100) - 1, 0)]


async def run(
    target: Target,
    *,
    connections: int = 32,
    requests: int | None = None,
    seconds: float = 10,
    rate: float | None = None,
) -> Result:
    """Asks until *requests* were sent or *seconds* have passed; never faster than *rate* per second."""
    result = Result()
    turns = iter(range(requests)) if requests is not None else count()
    start = perf_counter()

    async def work() -> None:
        connection: Connection | None = None
        for turn in turns:
            if rate is not None:
                await asyncio.sleep(start + turn / rate - perf_counter())
            if perf_counter() - start >= seconds:
                break
            try:
                connection = connection if connection and connection.usable else await connect(target)
                result.note(await connection.ask(target), target.ending)
            except (Broken, OSError):
                result.broken += 1
        if connection:
            connection.abort()

    workers = [asyncio.create_task(work()) for _ in range(connections)]
    done, late = await asyncio.wait(workers, timeout=seconds + GRACE_SECONDS)
    result.seconds = perf_counter() - start
    result.broken += len(late)
    for worker in late:
        worker.cancel()
    for worker in done:
        worker.result()
    return result


async def open_streams(target: Target, number: int) -> tuple[list["Connection"], Result]:
    """*number* streams that have begun and not ended. Whoever gets them aborts them."""
    result = Result()
    begun: list[Connection] = []
    turn = asyncio.Semaphore(50)

    async def begin() -> None:
        async with turn:
            if stream := await _begin_stream(target, result):
                begun.append(stream)

    await asyncio.gather(*(begin() for _ in range(number)))
    return begun, result


async def cancel_streams(target: Target, number: int, *, connections: int = 32) -> Result:
    """Begins *number* streams and leaves each as soon as its first byte has come."""
    result = Result()
    turns = iter(range(number))

    async def work() -> None:
        for _ in turns:
            if stream := await _begin_stream(target, result):
                stream.abort()

    await asyncio.gather(*(work() for _ in range(connections)))
    return result


async def _begin_stream(target: Target, result: Result) -> "Connection | None":
    try:
        async with asyncio.timeout(GRACE_SECONDS):
            connection = await connect(target)
            result.statuses[await connection.begin(target)] += 1
            return connection
    except (Broken, OSError):  # TimeoutError is an OSError
        result.broken += 1
        return None


async def connect(target: Target) -> "Connection":
    _, connection = await asyncio.get_running_loop().create_connection(Connection, target.host, target.port)
    return connection


class Connection(asyncio.Protocol):
    """A keep-alive connection with one request under way at a time. httptools calls the `on_` methods."""

    def __init__(self) -> None:
        self.usable = False
        self._answered: asyncio.Future[None] | None = None

    async def ask(self, target: Target) -> Answer:
        """Raises Broken."""
        started = perf_counter()
        await self._send(target, until_first_byte=False)
        return Answer(
            status=self._parser.get_status_code(),
            total=perf_counter() - started,
            first_byte=self._first_byte - started,
            tail=self._tail,
        )

    async def begin(self, target: Target) -> int:
        """The status, as soon as the body has begun; the rest is still to come. Raises Broken."""
        await self._send(target, until_first_byte=True)
        return self._parser.get_status_code()

    def abort(self) -> None:
        self._transport.abort()

    async def _send(self, target: Target, *, until_first_byte: bool) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._until_first_byte = until_first_byte
        self._kept = len(target.ending)
        self._tail = b""
        self._first_byte = 0.0
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(target.request)
        await self._answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.usable = True

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()

    def on_body(self, body: bytes) -> None:
        if not self._first_byte:
            self._first_byte = perf_counter()
            if self._until_first_byte:
                self._finish()
        if self._kept:
            self._tail = (self._tail + body)[-self._kept :]

    def on_message_complete(self) -> None:
        self._first_byte = self._first_byte or perf_counter()
        self.usable = self.usable and self._parser.should_keep_alive()
        self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if self._answered and not self._answered.done():
            self._answered.set_exception(Broken())

    def _finish(self) -> None:
        if self._answered and not self._answered.done():
            self._answered.set_result(None)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--body", default="{}", help="what to post, as text")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--requests", type=int, help="stop after so many")
    parser.add_argument("--seconds", type=float, default=10, help="stop after so long")
    parser.add_argument("--rate", type=float, help="at most so many per second")
    options = parser.parse_args()
    headers = dict(header.split(":", 1) for header in options.header)
    target = Target.post(options.url, options.body.encode(), headers)
    result = uvloop.run(
        run(
            target,
            connections=options.connections,
            requests=options.requests,
            seconds=options.seconds,
            rate=options.rate,
        )
    )
    print(
        json.dumps(
            {
                "count": result.count,
                "errors": result.errors,
                "rate": round(result.rate, 1),
                "p50_ms": round(percentile(result.totals, 50) * 1000, 3),
                "p99_ms": round(percentile(result.totals, 99) * 1000, 3),
                "first_byte_p50_ms": round(percentile(result.first_bytes, 50) * 1000, 3),
                "first_byte_p99_ms": round(percentile(result.first_bytes, 99) * 1000, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
