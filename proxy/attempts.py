"""Calls the Claude API for one exchange until there is an answer for the client: again with the same credential where
that may help, then with the next one. All of it happens before the first byte goes out."""

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

import stamina
import stamina.instrumentation

from proxy.conf import RetryConf
from proxy.draft import Draft
from proxy.eligibility import Wanted, eligible
from proxy.errors import LimitReached, NoCredential, ProxyError, UpstreamError
from proxy.headers import Headers, for_client
from proxy.upstream import Reply
from proxy.vault import Choice
from proxy.verdicts import REJECTED, Verdict, of_failure, of_status
from telemetry.credentials.board import Board, Trial
from telemetry.credentials.headroom import retry_after_seconds

logger = logging.getLogger(__name__)

DISCARD_MAX_BYTES = 64_000
DISCARD_SECONDS = 1.0

# Its own hooks would write log lines and count by another name.
stamina.instrumentation.set_on_retry_hooks([])


class Result:
    """What came of an attempt: an answer whose head has arrived, or no answer."""

    __slots__ = ("error", "headers", "reply")

    def __init__(self, reply: Reply | None, headers: Headers = (), error: ProxyError | None = None) -> None:
        self.reply = reply
        self.headers = headers
        """In lower case, without those of the connection."""
        self.error = error

    def verdict(self, draft: Draft, *, is_somebodys: bool) -> Verdict:
        if self.reply is not None:
            return of_status(draft.call, self.reply.status, self.headers, is_somebodys=is_somebodys)
        if isinstance(self.error, UpstreamError):
            return of_failure(draft.call, self.error)
        return Verdict.NEXT  # there is no token to call with

    def as_text(self) -> str:
        return str(self.reply.status) if self.reply is not None else type(self.error).__name__

    async def discard(self) -> None:
        """Nobody gets it: a short body is read, so that its connection can be used again."""
        if self.reply is None:
            return
        size = 0
        with contextlib.suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(DISCARD_SECONDS), contextlib.aclosing(self.reply.chunks()) as chunks:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > DISCARD_MAX_BYTES:
                        break
        self.reply.close()

    def delivered(self) -> tuple[Reply, Headers]:
        """Raises UpstreamError where there is no answer."""
        if self.reply is None:
            assert self.error is not None  # noqa: S101 (for the type checker)
            raise self.error
        return self.reply, self.headers


class _TryAgain(Exception):
    def __init__(self, result: Result) -> None:
        self.result = result


Send = Callable[[Choice], Awaitable[Reply]]
Admit = Callable[[Choice], Awaitable[None]]
"""Counts the request for another credential's limits too. Raises LimitReached."""
Renew = Callable[[Choice], Awaitable[Choice | None]]
"""After the API refused its token: the same credential with a new one, or None."""
Refused = Callable[[Choice, int], None]
"""The API refused a credential: somebody has to find out whether that is its fault."""


class Attempts:
    """Of one exchange."""

    def __init__(
        self, conf: RetryConf, board: Board, draft: Draft, send: Send, *, renew: Renew, refused: Refused, wanted: Wanted
    ) -> None:
        self._conf = conf
        self._board = board
        self._draft = draft
        self._send = send
        self._renew = renew
        self._refused = refused
        self._wanted = wanted
        self._family = wanted.family
        self._until = time.monotonic() + conf.budget_seconds
        self._told: list[str] = []
        self._open: Reply | None = None

    async def answer(
        self, choices: Sequence[Choice], admit: Admit, *, can_repeat: bool, is_somebodys: bool
    ) -> tuple[Reply, Headers]:
        """The answer for the client, whatever it says, and its headers. Raises UpstreamError where the last attempt
        brought none. What cannot be repeated (a body that passes through as it arrives) is tried once."""
        try:
            last = await self._last(choices, admit, can_repeat=can_repeat, is_somebodys=is_somebodys)
        except BaseException:
            if self._open is not None:
                self._open.close()
            raise
        if len(self._told) > 1:
            self._draft.tries = ", ".join(self._told)
        return last.delivered()

    async def _last(self, choices: Sequence[Choice], admit: Admit, *, can_repeat: bool, is_somebodys: bool) -> Result:
        last: Result | None = None
        for choice in choices[: self._conf.max_credentials if can_repeat else 1]:
            if last is not None:
                if not await self._may_use(choice, admit):
                    continue
                await last.discard()
            last, verdict = await self._with(choice, can_repeat=can_repeat, is_somebodys=is_somebodys)
            if verdict is Verdict.DELIVER or not can_repeat or time.monotonic() >= self._until:
                break
        assert last is not None  # noqa: S101 (there is a first choice)
        return last

    async def _may_use(self, choice: Choice, admit: Admit) -> bool:
        """Meanwhile it may have got into trouble itself. What its limits say is no error of the API's: the client hears
        of that one."""
        credential = choice.credential
        if credential and not eligible(credential, choice.key, self._wanted, self._board, time.time()):
            return False
        try:
            await admit(choice)
        except LimitReached:
            return False
        self._draft.choice = choice
        return True

    async def _with(self, choice: Choice, *, can_repeat: bool, is_somebodys: bool) -> tuple[Result, Verdict]:
        """All attempts with one credential."""
        result = await self._once(choice)
        verdict = result.verdict(self._draft, is_somebodys=is_somebodys)
        if verdict is Verdict.NEXT and result.reply is not None and result.reply.status in REJECTED:
            return await self._after_refusal(choice, result, is_somebodys=is_somebodys, can_repeat=can_repeat)
        if verdict is not Verdict.AGAIN or not can_repeat:
            return result, verdict
        return await self._again(choice, result, is_somebodys=is_somebodys)

    async def _after_refusal(
        self, choice: Choice, result: Result, *, is_somebodys: bool, can_repeat: bool
    ) -> tuple[Result, Verdict]:
        assert result.reply is not None  # noqa: S101 (it is one that says 401 or 403)
        status = result.reply.status
        if status == 401 and can_repeat and (renewed := await self._renew(choice)) is not None:
            await result.discard()
            self._draft.choice = renewed
            result = await self._once(renewed)
            verdict = result.verdict(self._draft, is_somebodys=is_somebodys)
            if result.reply is None or result.reply.status not in REJECTED:
                return result, verdict
        self._refused(choice, status)
        return result, Verdict.NEXT

    async def _again(self, choice: Choice, first: Result, *, is_somebodys: bool) -> tuple[Result, Verdict]:
        """With exponential back-off and jitter, within the budget."""
        conf, result, verdict = self._conf, first, Verdict.AGAIN
        is_first = True
        with contextlib.suppress(_TryAgain):
            async for attempt in stamina.retry_context(
                on=functools.partial(self._wait_seconds, choice),
                attempts=conf.max_attempts,
                timeout=max(0.001, self._until - time.monotonic()),
                wait_initial=conf.wait_seconds,
                wait_max=conf.max_wait_seconds,
                wait_jitter=conf.wait_seconds / 2,
            ):
                with attempt:
                    if not is_first:
                        await result.discard()
                        result = await self._once(choice)
                        verdict = result.verdict(self._draft, is_somebodys=is_somebodys)
                    is_first = False
                    if verdict is Verdict.AGAIN:
                        raise _TryAgain(result)
        return result, verdict

    def _wait_seconds(self, choice: Choice, raised: Exception) -> bool | float:
        """What the API asked for, if it did; False where that is too long, or the circuit has opened meanwhile."""
        if not isinstance(raised, _TryAgain):
            return False
        if self._board.open_until(choice.key, time.time()) is not None:
            return False
        named = dict(raised.result.headers)
        asked = retry_after_seconds(named.get(b"retry-after", b""), time.time()) if named else None
        if asked is None:
            return True
        return asked if asked <= min(self._conf.max_wait_seconds, self._until - time.monotonic()) else False

    async def _once(self, choice: Choice) -> Result:
        key, family = choice.key, self._family
        trial = self._board.begin(key, family, time.time())
        self._draft.calling()
        try:
            reply = self._open = await self._send(choice)
        except UpstreamError as error:
            self._board.failed(key, family, error.message, time.time(), trial)
            result = Result(None, error=error)
        except NoCredential as error:
            self._board.gave_up(key, family, trial)
            result = Result(None, error=error)
        except BaseException:
            self._board.gave_up(key, family, trial)
            raise
        else:
            headers = for_client(reply.headers)
            self._board.answered(key, family, reply.status, headers, time.time(), trial)
            result = Result(reply, headers)
        self._tell(choice, result)
        return result

    def _tell(self, choice: Choice, result: Result) -> None:
        self._told.append(f"{choice.name} {result.as_text()}")


def failed_midway(board: Board, choice: Choice, family: str, error: UpstreamError) -> None:
    """An answer that broke or fell silent after its head: nothing can be repeated any more."""
    board.failed(choice.key, family, error.message, time.time(), Trial())
