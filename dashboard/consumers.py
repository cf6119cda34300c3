"""The socket of a live page: it only listens, and ends with the session that opened it."""

import asyncio
import contextlib
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from accounts import hosts
from accounts.access import AccessRefused, Viewer, viewer_of_session
from dashboard.live import TooMany, hub, scope_of
from dashboard.scope import domain_ids_of

CHECK_SECONDS = 30.0
"""How often a socket asks whether its session is still good, and whom it may see."""
SIGNED_OUT, TRY_LATER = 4401, 4429
"""Closing codes, which live.js knows."""


class LiveConsumer(AsyncWebsocketConsumer):  # type: ignore[misc] # channels has no types
    async def connect(self) -> None:
        self._stack = contextlib.ExitStack()
        self._checks: asyncio.Task[None] | None = None
        await self.accept()
        try:
            seen = await self._seen()
            wants_rows = self._asked("rows") == "1"
            self._stack.enter_context(hub.watching(scope_of(seen), self.send, self._lost, with_rows=wants_rows))
        except AccessRefused:
            await self.close(SIGNED_OUT)
        except TooMany:
            await self.close(TRY_LATER)
        else:
            self._checks = asyncio.create_task(self._check(seen))
            await self.send('{"type":"connected"}')

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Nothing is asked for over the socket."""

    async def disconnect(self, code: int) -> None:
        self._stack.close()
        if self._checks is not None:
            self._checks.cancel()

    async def _check(self, seen: Any) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                if await self._seen() == seen:
                    continue
            except AccessRefused:
                pass
            self._stack.close()
            await self.close(SIGNED_OUT)  # also where the domains are others now: it comes again
            return

    def _lost(self) -> None:
        self._stack.close()

    async def _seen(self) -> Any:
        """Domains. Raises AccessRefused."""
        return await database_sync_to_async(self._ask)()

    def _ask(self) -> Any:
        viewer: Viewer = viewer_of_session(self.scope["cookies"].get(settings.SESSION_COOKIE_NAME))
        host = self._asked("domain")
        return domain_ids_of(viewer, hosts.normalise(host) if host else None)

    def _asked(self, name: str) -> str:
        query: str = self.scope["query_string"].decode("latin-1")
        return (parse_qs(query).get(name) or [""])[0]
