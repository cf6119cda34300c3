"""The stand-in as an ASGI app: record, authenticate, read the script, answer, perform."""

import asyncio
import gzip
import logging
import zlib
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from bench.asgi import ClientLeft, Receive, Scope, Send, read_body, until_client_leaves
from bench.serving import TRANSPORT
from bench.standin import caller, control, heads, prompt, script, troubles, versions
from bench.standin.api import Api, Call
from bench.standin.errors import ApiError
from bench.standin.ids import Ids
from bench.standin.recorder import Exchange, Recorder
from bench.standin.replies import Reply, Stream, gzipped
from bench.standin.stage import ConnectionCut, perform

logger = logging.getLogger("bench.standin")

PROBES = ("/", "/api/hello")
SCRIPTABLE = ("/v1/messages", "/v1/messages/count_tokens")


class Standin:
    """Keeps the last 1,000 exchanges, or none with *record* off. One *seed*, one sequence of ids."""

    url = ""
    """Where it is served, once `serve_in_thread` has started it."""

    def __init__(self, *, record: bool = True, seed: int = 0) -> None:
        self.recorder = Recorder(keep=1000 if record else 0)
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        """Forgets everything: record, scripts played, prompt cache, batches, files."""
        self.recorder.reset()
        self._request_ids = Ids(self._seed + 1)
        self._rehearsal = script.Rehearsal()
        self.revoked: set[str] = set()
        """Ends of credentials that the API refuses from now on."""
        self._api = Api(Ids(self._seed))

    def plan(self, credential: str, *steps: str) -> None:
        """What happens to the next messages of the credentials that end so, a step each, whatever they ask for:
        directives as in the README, an empty one for an ordinary answer. After the last it answers as ever."""
        self._rehearsal.plan(credential, steps)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"the stand-in speaks http only, not {scope['type']}")
        if scope["path"].startswith(control.PREFIX):
            await control.answer(self, scope, send)
            return
        exchange = self.recorder.open(scope)
        try:
            self.recorder.received(exchange, await read_body(receive))
            await self._answer(scope, exchange, receive, self.recorder.tap(exchange, send))
        except ClientLeft:
            self.recorder.close(exchange)
        except ConnectionCut:
            self.recorder.close(exchange, cut=True)
            await _break_off(scope, exchange, receive)
        else:
            self.recorder.close(exchange)

    async def _answer(self, scope: Scope, exchange: Exchange, receive: Receive, send: Send) -> None:
        request_id = self._request_ids.new("req_")
        headers = dict(exchange.headers)
        call: Call | None = None
        try:
            call = self._admit(scope, exchange, headers)
            reply = self._reply(call, request_id)
        except ApiError as problem:
            reply = troubles.error(problem, request_id)
        except Exception:
            # uvicorn would answer this too, but not say why: its logger is silenced here.
            logger.exception("the stand-in failed on %s %s", exchange.method, exchange.target)
            reply = troubles.error(ApiError(500, "The stand-in failed: see its log."), request_id)
        played = call.script if call else script.Script()
        await _unless_client_leaves(perform(_dressed(reply, call, request_id), played, request_id, send), receive)

    def _admit(self, scope: Scope, exchange: Exchange, headers: dict[str, str]) -> Call:
        known = caller.ANYBODY if scope["path"] in PROBES else caller.authenticate(headers)
        if known.credential.endswith(tuple(self.revoked)):
            raise ApiError(401, "invalid x-api-key")
        if known is not caller.ANYBODY:
            versions.check(headers.get("anthropic-version"))
        body = _decoded(exchange.body, headers.get("content-encoding", "identity"))
        return Call(
            method=exchange.method,
            path=scope["path"],
            query=dict(parse_qsl(scope["query_string"].decode("latin-1"))),
            headers=headers,
            body=body,
            caller=known,
            script=self._cue(scope["path"], headers, body, known),
        )

    def _cue(self, path: str, headers: dict[str, str], body: bytes, known: caller.Caller) -> script.Script:
        text = ""
        if path in SCRIPTABLE and (planned := self._rehearsal.planned(known.credential)) is not None:
            return planned
        if path in SCRIPTABLE and "x-standin" not in headers and b"[[standin" in body:
            text = prompt.read(prompt.load(body), counting=True).text
        return self._rehearsal.cue(script.read(headers.get("x-standin"), text), known.credential)

    def _reply(self, call: Call, request_id: str) -> Reply | Stream:
        trouble = troubles.scripted(call.script, request_id, redirected="redirected" in call.query)
        if trouble is not None:
            return trouble
        reply = self._api.answer(call)
        if call.script.gzip and isinstance(reply, Reply) and "gzip" in call.headers.get("accept-encoding", ""):
            return gzipped(reply)
        return reply


def _decoded(body: bytes, encoding: str) -> bytes:
    """The API takes compressed bodies; how it words a refusal is not known to us."""
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise ApiError(400, f"Unsupported Content-Encoding: {encoding}")
    try:
        return gzip.decompress(body)
    except (OSError, EOFError, zlib.error) as error:
        raise ApiError(400, "The request body is not valid for its Content-Encoding") from error


def _dressed(reply: Reply | Stream, call: Call | None, request_id: str) -> Reply | Stream:
    """*reply* with the headers that every answer of the API has."""
    if isinstance(reply, Reply) and reply.foreign:
        return reply
    headers = heads.common(request_id)
    if call is not None and call.caller is not caller.ANYBODY:
        headers += heads.of_organization(call.caller.organization)
        if call.path.startswith("/v1/messages"):
            headers += heads.rate_limits(bearer=call.caller.bearer, exhausted=reply.status == 429)
    return replace(reply, headers=headers + reply.headers)


async def _unless_client_leaves(performance: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Raises what the performance raises, and ClientLeft when the client would not stay for all of it."""
    performing = asyncio.create_task(performance)
    leaving = asyncio.create_task(until_client_leaves(receive))
    try:
        await asyncio.wait((performing, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not performing.done():
            raise ClientLeft
        performing.result()
    finally:
        performing.cancel()
        leaving.cancel()
        await asyncio.gather(performing, leaving, return_exceptions=True)


async def _break_off(scope: Scope, exchange: Exchange, receive: Receive) -> None:
    """Breaks the connection. In mid-answer an exception makes the server close it, after what was sent so far;
    before the head the server would still answer 500, so that the connection must be cut by force."""
    if exchange.status or TRANSPORT not in scope.get("extensions", {}):
        raise ConnectionCut
    scope["extensions"][TRANSPORT].abort()
    await until_client_leaves(receive)
