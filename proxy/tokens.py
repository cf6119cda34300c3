"""Has tokens renewed for requests that need one now. One renewal of a credential runs in this process at a time, and
all who need it wait for it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from accounts.facts import CredentialFacts
from accounts.oauth.endpoint import TokenError
from accounts.oauth.refreshing import Renewed, refresh_in_thread
from proxy.errors import NoCredential

logger = logging.getLogger(__name__)

REJECTED_SECONDS = 60.0
"""The API's word against a token that is not over counts once in this time: it may mean something else."""


class Tokens:
    def __init__(self, reload: Callable[[], Awaitable[None]]) -> None:
        """*reload* has the register read again."""
        self._reload = reload
        self._running: dict[UUID, asyncio.Task[Renewed]] = {}
        self._rejected_at: dict[UUID, float] = {}
        self._last: dict[UUID, Renewed] = {}

    async def fresh(self, credential: CredentialFacts, *, rejected: bool = False) -> CredentialFacts:
        """With a token that is good for a while; *rejected*: the API did not take the one that it has. Raises
        NoCredential."""
        assert credential.id is not None  # noqa: S101 (one that renews itself is in the register)
        if rejected:
            last = self._last.get(credential.id)
            if last is not None and last.version > credential.token_version:
                return _with(credential, last)  # the request began before that
            if not self._may_reject(credential.id):
                return credential
        try:
            renewed = await self._renewed(credential.id, credential.token_version if rejected else None)
        except TokenError as error:
            if rejected or _is_still_good(credential):
                return credential
            raise NoCredential(f"The credential “{credential.name}” has no token: {error.message}") from None
        except Exception as error:  # whatever it is: a database that is away must not end a token that is good
            logger.error("the token of %s could not be renewed: %s", credential.name, type(error).__name__)
            if rejected or _is_still_good(credential):
                return credential
            raise NoCredential(f"The token of “{credential.name}” could not be renewed. Try again.") from None
        return _with(credential, renewed)

    async def _renewed(self, credential_id: UUID, stale_version: int | None) -> Renewed:
        """Who leaves does not stop it for the others."""
        running = self._running.get(credential_id)
        if running is None:
            running = asyncio.create_task(self._renew(credential_id, stale_version))
            self._running[credential_id] = running
            running.add_done_callback(lambda _: self._running.pop(credential_id, None))
        return await asyncio.shield(running)

    async def _renew(self, credential_id: UUID, stale_version: int | None) -> Renewed:
        renewed = self._last[credential_id] = await asyncio.to_thread(refresh_in_thread, credential_id, stale_version)
        await self._reload()
        return renewed

    def _may_reject(self, credential_id: UUID) -> bool:
        now = time.monotonic()
        running = credential_id in self._running
        if not running and now < self._rejected_at.get(credential_id, -REJECTED_SECONDS) + REJECTED_SECONDS:
            return False
        self._rejected_at[credential_id] = now
        return True

    async def stop(self) -> None:
        """What runs has to save what it gets."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)


def _is_still_good(credential: CredentialFacts) -> bool:
    return bool(credential.secret) and (credential.expires_at is None or credential.expires_at > datetime.now(UTC))


def _with(credential: CredentialFacts, renewed: Renewed) -> CredentialFacts:
    return replace(
        credential, secret=renewed.access_token, expires_at=renewed.expires_at, token_version=renewed.version
    )
