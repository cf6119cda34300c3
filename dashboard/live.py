"""Hands what happens (`telemetry.live`) to everybody who watches from this process: one subscription for all of them,
and a message is written once for all that see the same domains."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID

import msgspec
from channels.layers import get_channel_layer

from telemetry.live import GROUP, MESSAGE

logger = logging.getLogger(__name__)

Scope = frozenset[str] | None
"""Ids of the domains that are seen; None: everything."""
Tell = Callable[[str], Awaitable[None]]
WATCHERS_MAX = 1000
"""Of one process; a further one is told to ask again and again instead."""
TELL_SECONDS = 5.0
"""Who takes nothing for so long is let go."""
RETRY_SECONDS = 2.0
NAMES = ("requests", "errors", "tokens_in", "tokens_out", "cost")


class TooMany(Exception):
    """More watch than one process serves."""


class Hub:
    """Of one event loop."""

    def __init__(self) -> None:
        self._watchers: dict[object, tuple[Scope, bool, Tell, Callable[[], None]]] = {}
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def watching(self, scope: Scope, tell: Tell, lost: Callable[[], None], *, with_rows: bool = True) -> Iterator[None]:
        """*lost* is called where a watcher does not take what it is told. Raises TooMany."""
        if len(self._watchers) >= WATCHERS_MAX:
            raise TooMany
        mark = object()
        self._watchers[mark] = (scope, with_rows, tell, lost)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._listen())
        try:
            yield
        finally:
            self._watchers.pop(mark, None)
            if not self._watchers and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _listen(self) -> None:
        while True:
            layer = get_channel_layer()
            try:
                channel = await layer.new_channel()
                await layer.group_add(GROUP, channel)
                try:
                    await self._hand_on(layer, channel)
                finally:
                    with contextlib.suppress(Exception):
                        await layer.group_discard(GROUP, channel)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                logger.warning("the live pages hear nothing: %s", type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)

    async def _hand_on(self, layer: Any, channel: str) -> None:
        while True:
            message = await layer.receive(channel)
            if message.get("type") == MESSAGE:
                await self._tell_all(message)

    async def _tell_all(self, message: dict[str, Any]) -> None:
        """One after the other: so many are told within milliseconds, and one who hangs is let go."""
        written: dict[tuple[Scope, bool], str | None] = {}
        for mark, (scope, with_rows, tell, lost) in list(self._watchers.items()):
            if (scope, with_rows) not in written:
                written[scope, with_rows] = write(message, scope, with_rows=with_rows)
            text = written[scope, with_rows]
            if text is None:
                continue
            try:
                await asyncio.wait_for(tell(text), TELL_SECONDS)
            except Exception:
                self._watchers.pop(mark, None)
                lost()


def write(message: dict[str, Any], scope: Scope, *, with_rows: bool = True) -> str | None:
    """What those may see of it, as JSON; None where that is nothing."""
    sums = [each for domain, each in message["sums"].items() if scope is None or domain in scope]
    if not sums:
        return None
    rows = [row for row in message["rows"] if with_rows and (scope is None or row["domain_id"] in scope)]
    totals = dict(zip(NAMES, (sum(column) for column in zip(*sums, strict=True)), strict=True))
    return msgspec.json.encode({"type": "tick", "sums": totals, "rows": rows}).decode()


def scope_of(domain_ids: "frozenset[UUID] | None") -> Scope:
    return None if domain_ids is None else frozenset(str(each) for each in domain_ids)


hub = Hub()
