"""Runs the endpoint for `/v1/*` without what a page needs and a stream pays for: no thread, no temporary file, no
signal receiver, no middleware, no database. The stock handler costs two new threads a request (design.md 7)."""

import asyncio
import functools
from collections.abc import MutableMapping, Sequence
from typing import Any

from django.http import Http404
from django.urls import ResolverMatch, get_resolver

from nexus.peers import Network, Peers
from proxy import cors
from proxy.api import Passage, Sent
from proxy.call import Call
from proxy.conf import IntakeConf
from proxy.draft import Draft
from proxy.errors import ClientGone, InvalidRequest, MethodNotAllowed, NotFound
from proxy.intake import Intake, Receive
from proxy.relay import Relay
from proxy.sender import Send, Sender
from telemetry import requestid

URLCONF = "proxy.urls"


@functools.lru_cache(maxsize=128)
def _resolve(path: str) -> ResolverMatch:
    """Most requests name one of two paths. Raises Http404."""
    return get_resolver(URLCONF).resolve(path)


class LeanHandler:
    def __init__(self, relay: Relay, conf: IntakeConf, trusted: Sequence[Network] = ()) -> None:
        self._relay = relay
        self._conf = conf
        self._peers = Peers(trusted)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        intake = Intake(receive, self._conf.body_idle_seconds)
        request = self._passage(Call(scope, intake), send)
        try:
            await self._serve(request)
        except (ClientGone, asyncio.CancelledError):
            # The client left, or the process stops. Both are on record, and this is the end of the request's task.
            return
        finally:
            await intake.aclose()

    def _passage(self, call: Call, send: Send) -> Passage:
        request = Passage()
        request.method = call.method
        request.path = request.path_info = call.path
        request.relay = self._relay
        request.draft = draft = Draft(call)
        draft.correlation_id = self._peers.correlation_id(call.address, call.headers)
        own_id = str(draft.id)
        requestid.request_id.set(own_id)
        requestid.correlation_id.set(draft.correlation_id)
        request.sender = Sender(send, own_id, cors.granted(call, self._conf.cors_origins))
        return request

    async def _serve(self, request: Passage) -> None:
        call, sender = request.draft.call, request.sender
        if sender.owns_cors and cors.is_preflight(call):
            await sender.start(204, cors.preflight(call))
            await sender.end()
            return
        try:
            call.check_path()
            match = _resolve(call.path)
            response = await match.func(request, *match.args, **match.kwargs)
        except InvalidRequest as odd_path:
            await self._relay.refuse(request.draft, sender, odd_path)
            return
        except Http404:
            error = NotFound(f"There is nothing at {call.path}. The Claude API begins at /v1/messages.")
            await self._relay.refuse(request.draft, sender, error)
            return
        if not isinstance(response, Sent):
            allowed = response.headers.get("Allow", "POST")
            message = f"{call.path} takes {allowed}, not {call.method}."
            await self._relay.refuse(request.draft, sender, MethodNotAllowed(message, allowed))
