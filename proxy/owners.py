"""What is at the API with one credential only: message batches, files, containers, skills. A request that is about one
of them goes to the credential with which it was made."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from uuid import UUID

from proxy.call import Call
from telemetry.credentials.board import Board

logger = logging.getLogger(__name__)

_STARTS = (b'"file_', b'"msgbatch_', b'"container_', b'"skill_')
_NAMED = re.compile(
    rb'"(?:id|file_id|container|container_id|skill_id)"\s*:\s*"((?:file|msgbatch|container|skill)_[\w-]{4,150})"'
)
_IN_PATH = re.compile(r"/v1/(?:messages/batches|files|skills)/([\w-]{4,160})(?:/|\Z)")
NAMED_MAX = 20
"""Ids of one request or answer."""
KEEP_SECONDS = 1.0
KEPT_MAX = 10_000
"""That wait for the database; beyond it the oldest are known to Redis and to this process only."""
Recall = Callable[[str], Awaitable[str | None]]
Find = Callable[[list[str], UUID], dict[str, UUID]]
Keep = Callable[[Mapping[str, tuple[UUID | None, UUID]]], None]


class Owners:
    """Only asked where a domain has several credentials."""

    def __init__(self, board: Board, recall: Recall, find: Find, keep: Keep) -> None:
        """*recall* asks the other processes; *find* and *keep* the database, in a thread."""
        self._board = board
        self._recall = recall
        self._find = find
        self._keep = keep
        self._unkept: dict[str, tuple[UUID | None, UUID]] = {}

    async def of(self, call: Call, body: object, domain_id: UUID) -> tuple[str, bool]:
        """The key of the credential, and whether the request is about something at all. A body that passes through
        unread says nothing."""
        ids = [*_in_path(call.path), *(named_in(body) if isinstance(body, bytes) else ())]
        for made_id in ids:
            if key := self._board.owner(made_id) or await self._recall(made_id):
                return key, True
        return (await self._found(ids, domain_id) if ids else ""), bool(ids)

    async def _found(self, ids: list[str], domain_id: UUID) -> str:
        try:
            found = await asyncio.to_thread(self._find, ids, domain_id)
        except Exception as error:  # whatever it is: without a database the pool is tried in its order
            logger.warning("whose %s is cannot be asked: %s", ids[0][:40], type(error).__name__)
            return ""
        for made_id, credential_id in found.items():
            self._board.own(made_id, str(credential_id))
        return next((str(found[made_id]) for made_id in ids if made_id in found), "")

    def note(self, text: bytes, domain_id: UUID, credential_id: UUID) -> None:
        """What an answer says was made."""
        for made_id in named_in(text):
            if self._board.owner(made_id) is None:
                self._board.own(made_id, str(credential_id))
                self._unkept[made_id] = (domain_id, credential_id)
        while len(self._unkept) > KEPT_MAX:
            self._unkept.pop(next(iter(self._unkept)))

    async def run(self) -> None:
        """Runs until cancelled: what was noted goes to the database."""
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            await self.keep()

    async def keep(self) -> None:
        if not (unkept := dict(self._unkept)):
            return
        try:
            await asyncio.to_thread(self._keep, unkept)
        except Exception as error:  # whatever it is: they stay for the next time
            logger.warning("what was made at the API is not kept yet: %s", type(error).__name__)
            return
        for made_id in unkept:
            self._unkept.pop(made_id, None)


def named_in(text: bytes) -> list[str]:
    """Ids in JSON, or in a stream of it."""
    if not any(start in text for start in _STARTS):
        return []
    return list(dict.fromkeys(_found_in(text)))


def _found_in(text: bytes) -> Iterator[str]:
    for count, match in enumerate(_NAMED.finditer(text)):
        if count >= NAMED_MAX:
            return
        yield match[1].decode()


def _in_path(path: str) -> list[str]:
    match = _IN_PATH.match(path)
    return [match[1]] if match else []
