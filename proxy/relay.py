"""The relay: the act of carrying one exchange, from the client's key to the record. This file is the table of
contents; each step is one line and one collaborator."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import msgspec

from accounts.facts import ClientKeyFacts, Snapshot
from accounts.keys import KeyRing, Refused
from proxy import batchbody, wire
from proxy.admission import Admission, Asker
from proxy.call import Call
from proxy.coding import decode
from proxy.conf import IntakeConf
from proxy.dispatch import Dispatch, Pool
from proxy.draft import CREATION, Draft
from proxy.errors import (
    BodyTooLarge,
    ClientGone,
    Forbidden,
    InternalFault,
    LimitReached,
    ProxyError,
    Stopping,
    Unauthenticated,
    UpstreamBroke,
    UpstreamError,
)
from proxy.estimates import Estimate
from proxy.headers import Header, Headers, first, for_upstream, is_event_stream, text, without_cors
from proxy.intake import Intake
from proxy.limiter import Limiter
from proxy.modelrules import check_model, has_rules
from proxy.remaining import remaining
from proxy.sender import REQUEST_ID, Sender
from proxy.tracing import Tracing
from proxy.upstream import Reply, Upstream
from proxy.vault import Choice
from proxy.waiting import Say
from telemetry.money.pricing import PriceList
from telemetry.record.exchange import Kind, Outcome
from telemetry.record.recorder import Recorder, Recording
from telemetry.sinks import Sinks

logger = logging.getLogger(__name__)

PRIORITY = b"x-nexus-priority"
WAITING = b": waiting for room in a limit\n\n"
"""A comment, for which every reader of event streams has no ears."""
GOODBYE_SECONDS = 1.0
FAILURE_MAX_BYTES = 1_000_000
KEPT_UPLOAD_MAX_BYTES = 1_000_000
"""How much of a body that passes through unbuffered is kept for the record."""


@dataclass(frozen=True, slots=True)
class Route:
    """How a path of the API is carried."""

    kind: Kind
    is_message: bool
    """Read whole and looked into before it is sent; else it passes through as it arrives."""


MESSAGES = Route(Kind.INFERENCE, is_message=True)
COUNT_TOKENS = Route(Kind.COUNT_TOKENS, is_message=True)
ANYTHING_ELSE = Route(Kind.OTHER, is_message=False)


class Relay:
    def __init__(
        self,
        *,
        snapshot: Callable[[], Snapshot],
        dispatch: Dispatch,
        limiter: Limiter,
        upstream: Upstream,
        prices: Callable[[], PriceList],
        recorder: Recorder,
        sinks: Sinks,
        tracing: Tracing,
        intake: IntakeConf,
        keep_bodies: bool,
        forward_request_id: bool = False,
    ) -> None:
        self._snapshot = snapshot
        self._keys = KeyRing(snapshot)
        self._dispatch = dispatch
        self._limiter = limiter
        self._upstream = upstream
        self._prices = prices
        self._recorder = recorder
        self._sinks = sinks
        self._tracing = tracing
        self._intake = intake
        self._keep_bodies = keep_bodies
        self._forward_request_id = forward_request_id

    async def carry(self, draft: Draft, sender: Sender, route: Route) -> None:
        """Carries one exchange to its end and records it exactly once, whatever that end is."""
        await self._record(draft, sender, lambda recording: self._carry_guarded(draft, sender, route, recording))

    async def refuse(self, draft: Draft, sender: Sender, error: ProxyError) -> None:
        """Answers and records a request that no route takes."""
        await self._record(draft, sender, lambda recording: self._fail(draft, sender, error))

    async def _record(self, draft: Draft, sender: Sender, run: Callable[[Recording], Awaitable[Outcome]]) -> None:
        recording = self._recorder.begin()
        draft.keeps_bodies = self._keep_bodies
        draft.trace = self._tracing.begin(draft.call.headers)
        outcome = Outcome.INTERRUPTED
        try:
            outcome = await run(recording)
        except ClientGone:
            outcome = Outcome.CANCELLED
            raise
        except Exception:
            outcome = Outcome.FAILED
            logger.exception("exchange %s: even its failure could not be told", draft.id)
            raise
        except asyncio.CancelledError:
            if draft.call.intake.left:
                outcome = Outcome.CANCELLED
            else:
                await self._say_goodbye(draft, sender)
            raise
        finally:
            closed = draft.close(outcome, sender.status, self._prices())
            if draft.admission is not None:
                self._limiter.settle(draft.admission, closed.exchange)
            self._sinks.tell(closed.exchange)
            await recording.close(closed)

    async def _say_goodbye(self, draft: Draft, sender: Sender) -> None:
        """The process stops and cut this exchange short: its client hears of it, if it listens."""
        error = Stopping("Nexus was stopped before this answer was complete. Try again.")
        draft.failed(error.type, error.message)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await sender.fail(error)

    async def _carry_guarded(self, draft: Draft, sender: Sender, route: Route, recording: Recording) -> Outcome:
        try:
            await self._carry(draft, sender, route, recording)
            return Outcome.COMPLETED
        except ProxyError as raised:
            # A body that failed while the upstream was reading it surfaces as the upstream's failure.
            error = draft.call.intake.error or raised
        except ClientGone:
            raise
        except Exception:
            logger.exception("exchange %s failed in Nexus itself", draft.id)
            error = InternalFault("Nexus failed to carry this request. Its log says more under this request id.")
        return await self._fail(draft, sender, error)

    async def _fail(self, draft: Draft, sender: Sender, error: ProxyError) -> Outcome:
        head_had_left = sender.status is not None
        draft.failed(error.type, error.message, error.refused_by)
        await sender.fail(error, draft.call.intake if isinstance(error, BodyTooLarge) else None)
        if isinstance(error, InternalFault):
            return Outcome.FAILED
        if not isinstance(error, UpstreamError):
            return Outcome.REFUSED
        return Outcome.BROKEN if head_had_left else Outcome.UPSTREAM_FAILED

    async def _carry(self, draft: Draft, sender: Sender, route: Route, recording: Recording) -> None:
        draft.begin(route.kind)
        key, own_headers = self._authenticate(draft)
        body = await self._take_body(draft, route, key)
        pool = await self._pool(draft, key, own_headers, body)
        await self._admit(draft, sender, key, pool)
        if draft.waited_seconds:
            pool = await self._look_again(draft, body)
        recording.open(*draft.opened())
        reply, headers = await self._call(draft, pool, body, owns_cors=sender.owns_cors)
        try:
            await self._pass_on(draft, sender, reply, headers, pool)
        except UpstreamError as error:
            self._dispatch.broke(draft, pool, error)
            raise
        finally:
            reply.close()

    def _authenticate(self, draft: Draft) -> tuple[ClientKeyFacts, Headers]:
        presented, own_headers = draft.call.presented()
        try:
            draft.key, draft.by_previous_secret = self._keys.recognise(presented, draft.call.host)
        except Refused as refused:
            draft.key = refused.key
            kind = Forbidden if refused.forbidden else Unauthenticated
            raise kind(refused.message) from None
        return draft.key, own_headers

    async def _take_body(self, draft: Draft, route: Route, key: ClientKeyFacts) -> bytes | AsyncIterator[bytes]:
        call = draft.call
        if not route.is_message:
            return await self._take_errand(draft, key)
        body = await call.intake.read(self._intake.max_bytes(call.path), call.declared_bytes)
        draft.request_read(body)
        readable = await self._readable(call, body)
        draft.ask = wire.read(readable, route.kind)
        draft.lineage = wire.lineage(call.headers, draft.ask.user_id)
        draft.user_id = wire.person(draft.ask.user_id)
        check_model(draft.ask.model, key, self._prices())
        if draft.ask.kind is not Kind.COUNT_TOKENS:
            draft.estimate = Estimate(draft.ask, readable, self._prices())
        return body

    async def _take_errand(self, draft: Draft, key: ClientKeyFacts) -> bytes | AsyncIterator[bytes]:
        """A body that passes through as it arrives, but where the models or the money in it are limited."""
        call, max_bytes = draft.call, self._intake.max_bytes(draft.call.path)
        is_batch = (call.method, call.path) == CREATION and self._limiter.counts_money(key)
        if call.method != "POST" or not (is_batch or (has_rules(key) and _may_name_models(call))):
            return await self._upload(draft, max_bytes)
        body = await call.intake.read(min(max_bytes, self._intake.checked_max_bytes), call.declared_bytes)
        draft.request_read(body)
        readable = await self._readable(call, body)
        errand = await asyncio.to_thread(batchbody.read, call.path, readable, self._prices())
        for model in sorted(errand.models):
            check_model(model, key, self._prices())
        draft.estimate = errand.estimate
        return body

    async def _pool(self, draft: Draft, key: ClientKeyFacts, own_headers: Headers, body: object) -> Pool:
        pool = await self._dispatch.pool(draft, self._snapshot(), key, own_headers, body)
        draft.choice = pool.choices[0]
        return pool

    async def _admit(self, draft: Draft, sender: Sender, key: ClientKeyFacts, pool: Pool) -> None:
        """With the first credential whose own limits have room; where none has, it waits for the best one's."""
        say = functools.partial(self._say_that_it_waits, draft, sender) if draft.ask.is_stream else None
        try:
            draft.admission = await self._admitted(draft, key, pool.choices, say)
        except ProxyError as refused:
            draft.waited_seconds = refused.waited_seconds
            raise
        draft.waited_seconds = draft.admission.waited_seconds
        sender.add(remaining(draft.admission))

    async def _admitted(
        self, draft: Draft, key: ClientKeyFacts, choices: Sequence[Choice], say: Say | None
    ) -> Admission:
        for choice in choices if len(choices) > 1 else ():
            try:
                admission = await self._limiter.admit(_asker(draft, key, choice, may_wait=False))
            except LimitReached as reached:
                if not reached.refused_by.startswith("credential "):
                    break  # another one would not help
            else:
                draft.choice = choice
                return admission
        return await self._limiter.admit(_asker(draft, key, choices[0]), say)

    async def _say_that_it_waits(self, draft: Draft, sender: Sender) -> None:
        await sender.begin_early()
        await self._hand_over(draft.call.intake, sender, WAITING)

    async def _look_again(self, draft: Draft, body: object) -> Pool:
        """After a wait: the key may have been revoked meanwhile, and the credential replaced. Another one than that
        whose limits have counted this request is a small inexactness."""
        key, own_headers = self._authenticate(draft)
        return await self._pool(draft, key, own_headers, body)

    async def _readable(self, call: Call, body: bytes) -> bytes:
        """The body, or an unpacked copy of one that came compressed."""
        coding = text(call.headers, b"content-encoding").strip().lower()
        if coding in ("", "identity"):
            return body
        return await asyncio.to_thread(decode, body, coding, self._intake.max_bytes(call.path))

    async def _upload(self, draft: Draft, max_bytes: int) -> bytes | AsyncIterator[bytes]:
        """A body that passes through as it arrives. One that is declared empty is taken at once, so that a client
        who leaves is noticed while the answer is awaited."""
        call = draft.call
        chunked = bool(first(call.headers, b"transfer-encoding"))
        if not call.declared_bytes and not chunked:
            await call.intake.read(0, call.declared_bytes)
            draft.request_read(b"")
            return b""
        return draft.tap_upload(call.intake.stream(max_bytes, call.declared_bytes), KEPT_UPLOAD_MAX_BYTES)

    async def _call(
        self, draft: Draft, pool: Pool, body: bytes | AsyncIterator[bytes], *, owns_cors: bool
    ) -> tuple[Reply, Headers]:
        call = draft.call
        headers = self._headers_up(draft, body, owns_cors=owns_cors)

        async def send(choice: Choice) -> Reply:
            return await self._upstream.send(
                call.method, call.target, choice.authenticate(headers), body, call.intake.patience
            )

        async def pass_on(choice: Choice) -> None:
            if draft.admission is not None and draft.key is not None:
                await self._limiter.pass_on(draft.admission, _asker(draft, draft.key, choice, may_wait=False))

        first_choices = [draft.choice] if draft.choice else []
        others = [choice for choice in pool.choices if choice is not draft.choice]
        pool = msgspec.structs.replace(pool, choices=[*first_choices, *others])
        return await self._dispatch.call(draft, pool, send, pass_on, can_repeat=isinstance(body, bytes))

    def _headers_up(self, draft: Draft, body: bytes | AsyncIterator[bytes], *, owns_cors: bool) -> list[Header]:
        """All but the credential's."""
        call = draft.call
        headers = for_upstream(call.headers, drop_origin=owns_cors)
        headers += self._tracing.for_upstream(draft.trace)
        length = len(body) if isinstance(body, bytes) else call.declared_bytes
        if length:
            headers.append((b"content-length", str(length).encode()))
        if self._forward_request_id:
            headers.append((REQUEST_ID, str(draft.id).encode()))
        return headers

    async def _pass_on(self, draft: Draft, sender: Sender, reply: Reply, headers: Headers, pool: Pool) -> None:
        if sender.owns_cors:
            headers = without_cors(headers)
        draft.answered(reply.status, headers)
        if sender.is_early and not (reply.status == 200 and is_event_stream(headers)):
            await self._pass_on_failure(draft, sender, reply)
            return
        await sender.start(reply.status, headers)
        async with contextlib.aclosing(reply.chunks()) as chunks:
            async for chunk in chunks:
                draft.received(chunk, self._intake.capture_max_bytes)
                if pool.is_shared:
                    self._dispatch.made(pool, draft, chunk)
                await self._hand_over(draft.call.intake, sender, chunk)
        if pool.is_shared:
            self._dispatch.made(pool, draft, draft.answer_text)
        if draft.answer_is_cut:
            # Where only the end of the connection ends a body, an upstream that died looks like one that finished.
            raise UpstreamBroke("The Claude API's stream ended before its message did.")
        await sender.end()

    async def _pass_on_failure(self, draft: Draft, sender: Sender, reply: Reply) -> None:
        """Of an answer that is no stream, where the client was told already that one would come."""
        body = bytearray()
        async with contextlib.aclosing(reply.chunks()) as chunks:
            async for chunk in chunks:
                draft.received(chunk, self._intake.capture_max_bytes)
                if len(body) < FAILURE_MAX_BYTES:
                    body += chunk
        await sender.tell_failure(reply.status, bytes(body))

    async def _hand_over(self, intake: Intake, sender: Sender, chunk: bytes) -> None:
        """A client that takes nothing for minutes would hold the call to the API as long as it likes."""
        try:
            await intake.patience.limit(self._intake.client_stall_seconds, sender.body(chunk))
        except TimeoutError:
            intake.left = True
            raise ClientGone from None


def _asker(draft: Draft, key: ClientKeyFacts, choice: Choice, *, may_wait: bool = True) -> Asker:
    return Asker(
        id=draft.id,
        key=key,
        credential_id=choice.credential.id if choice.credential else None,
        model=draft.ask.model,
        user_id=draft.user_id,
        session_id=draft.lineage.session_id,
        estimate=draft.estimate,
        is_background=key.is_background or _is_background(draft.call),
        must_fit=draft.ask.kind is Kind.OTHER,
        may_wait=may_wait,
    )


def _may_name_models(call: Call) -> bool:
    """The API may take for JSON what does not say what it is."""
    content_type = first(call.headers, b"content-type").lower()
    return call.path == batchbody.PATH or not content_type or b"json" in content_type


def _is_background(call: Call) -> bool:
    """Nobody sits and waits for it, says the request itself, or it makes a message batch."""
    return (call.method, call.path) == CREATION or first(call.headers, PRIORITY).lower() == b"background"
