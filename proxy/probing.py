"""After the API has refused a credential: is it the credential's fault, or that of one request? A cheap call of its own
tells, beside the requests, which meanwhile go to others."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

from proxy.vault import Choice
from telemetry.credentials.board import Board

logger = logging.getLogger(__name__)


class Probing:
    def __init__(
        self,
        board: Board,
        check: Callable[[UUID], object],
        roll_back: Callable[[UUID, str], object],
        reload: Callable[[], Awaitable[None]],
    ) -> None:
        """*check* asks the API and marks the credential as it finds it, *roll_back* ends a replacement: both in a
        thread. *reload* has the register read again."""
        self._board = board
        self._check = check
        self._roll_back = roll_back
        self._reload = reload
        self._running: set[asyncio.Task[None]] = set()

    def refused(self, choice: Choice, status: int) -> None:
        """At once; at most one probe of a credential runs, and one in half a minute."""
        credential = choice.credential
        if credential is None or credential.id is None or not self._board.suspect(choice.key, time.time()):
            return
        logger.warning(
            "the API answered %s to the credential %s: a probe tells whose fault that is", status, choice.name
        )
        task = asyncio.create_task(
            self._probe(choice.key, credential.id, status, rolls_back=bool(credential.replaces_id))
        )
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _probe(self, key: str, credential_id: UUID, status: int, *, rolls_back: bool) -> None:
        try:
            if rolls_back:
                await asyncio.to_thread(self._roll_back, credential_id, f"The API answered {status}.")
            await asyncio.to_thread(self._check, credential_id)
            await self._reload()
            self._board.clear(key)
        except Exception:  # whatever it is: it is suspected until its time is over, and then tried again
            logger.exception("the credential %s could not be probed", credential_id)

    async def stop(self) -> None:
        """Waits for the probes that run: each has a time limit of its own."""
        await asyncio.gather(*self._running, return_exceptions=True)
