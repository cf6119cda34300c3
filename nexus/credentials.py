"""What one process knows of its credentials' health, and what keeps, shares and mends that beside the requests."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import close_old_connections

from proxy.dispatch import Dispatch
from proxy.owners import Owners
from proxy.probing import Probing
from proxy.tokens import Tokens
from proxy.vault import Vault
from telemetry.credentials import belongings, checking, marking, reading, statefile
from telemetry.credentials.board import Board
from telemetry.credentials.sharing import Sharing
from telemetry.credentials.statefile import StateFile

STOP_SECONDS = 2.0
P = ParamSpec("P")
R = TypeVar("R")


class Credentials:
    def __init__(self, reload: Callable[[], Awaitable[None]]) -> None:
        """*reload* has the register read again."""
        self.board = Board(settings.CIRCUIT_BREAKER, settings.COOLING)
        self._sharing = Sharing(self.board, settings.REDIS_URL) if settings.REDIS_URL else None
        self._file = None if self._sharing else StateFile(self.board, settings.NEXUS_DATA)
        self._owners = Owners(
            self.board, self._owner_elsewhere, _in_thread(belongings.find), _in_thread(belongings.keep)
        )
        self._tokens = Tokens(reload)
        self._probing = Probing(self.board, checking.check_by_id, _in_thread(marking.roll_back), reload)
        vault = Vault(settings.UPSTREAM.default_api_key, self.board, self._session_elsewhere)
        self.dispatch = Dispatch(vault, self.board, self._owners, self._tokens, self._probing, settings.RETRIES)
        self._tasks: list[asyncio.Task[None]] = []
        self._sharing_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._sharing is not None:
            self._sharing_task = asyncio.create_task(self._sharing.run())
        if self._file is not None:
            self.board.restore(await asyncio.to_thread(statefile.read, settings.NEXUS_DATA), 0.0)
            self._tasks.append(asyncio.create_task(self._file.run()))
        self._tasks.append(asyncio.create_task(self._owners.run()))
        reading.known_here(self.board)

    async def stop(self) -> None:
        """After the last exchange: what was found out last is told, or written down."""
        reading.known_here(None)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._tokens.stop()
        await self._probing.stop()
        await self._owners.keep()
        if self._file is not None:
            self._file.write(self.board.state())
        if self._sharing is not None and self._sharing_task is not None:
            self._sharing.stop()
            await asyncio.wait([self._sharing_task], timeout=STOP_SECONDS)
            self._sharing_task.cancel()

    async def _session_elsewhere(self, session: str) -> None:
        if self._sharing is not None:
            await self._sharing.recall_session(session)

    async def _owner_elsewhere(self, made_id: str) -> str | None:
        return await self._sharing.owner(made_id) if self._sharing else None


def _in_thread(query: Callable[P, R]) -> Callable[P, R]:
    """Pool threads come and go: none may leave a connection behind that nobody checks."""

    @functools.wraps(query)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        close_old_connections()
        try:
            return query(*arguments, **options)
        finally:
            close_old_connections()

    return run
