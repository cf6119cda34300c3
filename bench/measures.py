"""What the bench measures on one server. Memory comes before the large prompts, whose traces it would show."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from bench import load
from bench.load import Result, Target, percentile
from bench.processes import Server
from bench.standin.fast import JSON_END, SLOW, STREAM_END

SETTLING_SECONDS = 2  # a slow stream speaks once a second, and may be heard to be left only then
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Bounds:
    seconds: float
    """At most so long for each measurement of speed."""
    requests: int | None
    """And at most so many requests."""
    open_streams: int
    cancelled_streams: int


@dataclass(slots=True)
class Figures:
    """What was measured on one server, and the errors of all of it together."""

    values: dict[str, float] = field(default_factory=dict)
    answers: int = 0
    errors: int = 0

    def note(self, result: Result) -> Result:
        self.answers += result.count
        self.errors += result.errors
        return result


class Bench:
    def __init__(self, direct: Server, bounds: Bounds, say: Say) -> None:
        self._direct = direct
        self._bounds = bounds
        self._say = say

    async def measure(self, servers: list[Server]) -> dict[str, Figures]:
        """Each measurement on every server in turn: what disturbs the machine for a while disturbs them all."""
        results = {server.name: Figures() for server in servers}
        for server in servers:
            await load.run(prompt(server, 4), seconds=1)  # warms up, and does not count
        for measurement in (
            self._json,
            self._json_alone,
            self._streams,
            self._first_byte,
            self._open_streams,
            self._cancelled_streams,
            self._large_prompts,
        ):
            for server in servers:
                figures = results[server.name]
                known = set(figures.values)
                await measurement(server, figures)
                for name in [name for name in figures.values if name not in known]:
                    self._say(f"{server.name}: {name} {figures.values[name]:.5g}")
        return results

    async def _json(self, server: Server, figures: Figures) -> None:
        figures.values["json_rate"] = (await self._load(prompt(server, 4), figures)).rate

    async def _json_alone(self, server: Server, figures: Figures) -> None:
        result = await self._load(prompt(server, 4), figures, connections=1)
        figures.values["json_p50_ms"] = percentile(result.totals, 50) * 1000
        figures.values["json_p99_ms"] = percentile(result.totals, 99) * 1000

    async def _streams(self, server: Server, figures: Figures) -> None:
        figures.values["stream_rate"] = (await self._load(prompt(server, 4, stream=True), figures)).rate

    async def _first_byte(self, server: Server, figures: Figures) -> None:
        """What the server adds at half of its own load, over the stand-in asked directly at the same rate."""
        if server is self._direct:
            return
        rate = figures.values["stream_rate"] / 2
        direct = await self._load(prompt(self._direct, 4, stream=True), figures, rate=rate)
        through = await self._load(prompt(server, 4, stream=True), figures, rate=rate)
        for percent in (50, 99):
            added = percentile(through.first_bytes, percent) - percentile(direct.first_bytes, percent)
            figures.values[f"first_byte_added_p{percent}_ms"] = added * 1000

    async def _open_streams(self, server: Server, figures: Figures) -> None:
        if server is self._direct:
            return
        streams, result = await load.open_streams(_slow_stream(server), self._bounds.open_streams)
        figures.note(result)
        await asyncio.sleep(SETTLING_SECONDS)
        figures.values["open_streams_rss_mb"] = server.rss_mb()
        for stream in streams:
            stream.abort()
        await asyncio.sleep(SETTLING_SECONDS)

    async def _cancelled_streams(self, server: Server, figures: Figures) -> None:
        if server is self._direct:
            return
        figures.values["before_cancelled_rss_mb"] = server.rss_mb()
        figures.note(await load.cancel_streams(_slow_stream(server), self._bounds.cancelled_streams))
        await asyncio.sleep(SETTLING_SECONDS)
        figures.values["after_cancelled_rss_mb"] = server.rss_mb()

    async def _large_prompts(self, server: Server, figures: Figures) -> None:
        figures.values["rate_100kb"] = (await self._load(prompt(server, 100), figures)).rate
        figures.values["rate_2mb"] = (await self._load(prompt(server, 2048), figures, connections=8)).rate

    async def _load(
        self, target: Target, figures: Figures, *, connections: int = 32, rate: float | None = None
    ) -> Result:
        return figures.note(
            await load.run(
                target,
                connections=connections,
                requests=self._bounds.requests,
                seconds=self._bounds.seconds,
                rate=rate,
            )
        )


def prompt(server: Server, kilobytes: int, *, stream: bool = False) -> Target:
    text = "The tide comes in twice a day. " * (kilobytes * 1024 // 31)
    return _post(server, text, stream=stream, ending=STREAM_END if stream else JSON_END)


def _slow_stream(server: Server) -> Target:
    return _post(server, SLOW.decode(), stream=True, ending=b"")


def _post(server: Server, text: str, *, stream: bool, ending: bytes) -> Target:
    body = {
        "model": "claude-haiku-4-5",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": text}],
        "stream": stream,
    }
    headers = {"content-type": "application/json", "x-api-key": server.key, "anthropic-version": "2023-06-01"}
    packed = json.dumps(body, separators=(",", ":")).encode()
    return Target.post(f"{server.url}/v1/messages", packed, headers, ending)
