"""From a request to an answer: which credentials can take it, and the calls with them, one after the other."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from accounts.facts import ClientKeyFacts, CredentialFacts, Snapshot
from proxy.attempts import Attempts, Send, failed_midway
from proxy.conf import RetryConf
from proxy.draft import Draft
from proxy.eligibility import Wanted
from proxy.errors import UpstreamError
from proxy.headers import Headers
from proxy.owners import Owners
from proxy.probing import Probing
from proxy.upstream import Reply
from proxy.vault import Choice, Vault, wanted
from telemetry.credentials.board import Board

RENEW_BEFORE_SECONDS = 30.0
"""A token that ends sooner is renewed before it is used."""


class Tokens(Protocol):
    async def fresh(self, credential: CredentialFacts, *, rejected: bool = False) -> CredentialFacts:
        """With a token that is good for a while; *rejected*: the API did not take the one that it has. Raises
        NoCredential."""
        ...


class Pool(msgspec.Struct, frozen=True):
    """What one request may be sent with."""

    members: Sequence[Choice]
    choices: Sequence[Choice]
    """Those that can take it, the best first."""
    wanted: Wanted
    is_somebodys: bool
    """It is about something that belongs to one credential, and nobody knows which."""

    @property
    def is_shared(self) -> bool:
        return len(self.members) > 1


class Dispatch:
    def __init__(
        self, vault: Vault, board: Board, owners: Owners, tokens: Tokens, probing: Probing, retries: RetryConf
    ) -> None:
        self._vault = vault
        self._board = board
        self._owners = owners
        self._tokens = tokens
        self._probing = probing
        self._retries = retries

    async def pool(
        self, draft: Draft, snapshot: Snapshot, key: ClientKeyFacts, own_headers: Headers, body: object
    ) -> Pool:
        """Raises NoCredential, CredentialsResting."""
        members = self._vault.pool(snapshot, key, own_headers)
        owner, is_about = await self._owner(draft, key, body, members)
        asked = wanted(draft.ask, key, draft.lineage.session_id, owner, is_pool=len(members) > 1)
        return Pool(members, await self._vault.order(members, asked), asked, is_about and not owner)

    async def _owner(
        self, draft: Draft, key: ClientKeyFacts, body: object, members: Sequence[Choice]
    ) -> tuple[str, bool]:
        """Of a credential that has left the pool nobody asks any more."""
        if len(members) == 1:
            return "", False
        owner, is_about = await self._owners.of(draft.call, body, key.domain.id)
        return (owner if owner in {each.key for each in members} else ""), is_about

    async def call(
        self, draft: Draft, pool: Pool, send: Send, admit: Callable[[Choice], Awaitable[None]], *, can_repeat: bool
    ) -> tuple[Reply, Headers]:
        """An answer for the client, whatever it says, and its headers. Raises UpstreamError, NoCredential."""

        async def send_freshly(choice: Choice) -> Reply:
            return await send(await self._fresh(draft, choice))

        attempts = Attempts(
            self._retries,
            self._board,
            draft,
            send_freshly,
            renew=self._renewed,
            refused=self._probing.refused,
            wanted=pool.wanted,
        )
        reply, headers = await attempts.answer(
            pool.choices, admit, can_repeat=can_repeat, is_somebodys=pool.is_somebodys
        )
        if pool.is_shared and reply.status < 400 and draft.choice is not None:
            self._vault.bind(pool.wanted, draft.choice, pool.members)
        return reply, headers

    def made(self, pool: Pool, draft: Draft, text: bytes) -> None:
        """Notes what an answer says was made at the API."""
        credential, key = draft.choice.credential if draft.choice else None, draft.key
        if pool.is_shared and key is not None and credential is not None and credential.id is not None:
            self._owners.note(text, key.domain.id, credential.id)

    def broke(self, draft: Draft, pool: Pool, error: UpstreamError) -> None:
        """In the middle of an answer."""
        if draft.choice is not None:
            failed_midway(self._board, draft.choice, pool.wanted.family, error)

    async def _fresh(self, draft: Draft, choice: Choice) -> Choice:
        credential = choice.credential
        if credential is None or not credential.is_renewable:
            return choice
        ends_at = credential.expires_at
        if credential.secret and (ends_at is None or ends_at.timestamp() > time.time() + RENEW_BEFORE_SECONDS):
            return choice
        draft.choice = choice.renewed(await self._tokens.fresh(credential))
        return draft.choice

    async def _renewed(self, choice: Choice) -> Choice | None:
        credential = choice.credential
        if credential is None or not credential.is_renewable:
            return None
        found = await self._tokens.fresh(credential, rejected=True)
        return choice.renewed(found) if found.token_version != credential.token_version else None
