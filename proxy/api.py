"""The endpoint: `/v1/messages`, `/v1/messages/count_tokens`, and everything else under `/v1/` as it comes."""

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from ninja import NinjaAPI, Router

from proxy.draft import Draft
from proxy.relay import ANYTHING_ELSE, COUNT_TOKENS, MESSAGES, Relay, Route
from proxy.sender import Sender

ANY_METHOD = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]


class Passage(HttpRequest):
    """A request on the lean path: what the relay needs, and none of Django's parsing."""

    draft: Draft
    sender: Sender
    relay: Relay


class Sent(HttpResponseBase):
    """Says that the relay has answered already."""

    streaming = True


router = Router()


@router.post("/messages")
async def messages(request: Passage) -> HttpResponseBase:
    return await _carry(request, MESSAGES)


@router.post("/messages/count_tokens")
async def count_tokens(request: Passage) -> HttpResponseBase:
    return await _carry(request, COUNT_TOKENS)


@router.api_operation(ANY_METHOD, "/{path:rest}")
async def anything_else(request: Passage, rest: str) -> HttpResponseBase:
    return await _carry(request, ANYTHING_ELSE)


async def _carry(request: Passage, route: Route) -> HttpResponseBase:
    await request.relay.carry(request.draft, request.sender, route)
    return Sent()


class LeanAPI(NinjaAPI):
    """ninja prepares a response for each request, for views that return data. These never do."""

    _unused = HttpResponse()

    def create_temporal_response(self, request: HttpRequest) -> HttpResponse:
        return self._unused


api = LeanAPI(title="Claude API", docs_url=None, openapi_url=None, urls_namespace="claude")
api.add_router("", router)


@api.exception_handler(Exception)
def _leave_to_handler(request: HttpRequest, error: Exception) -> HttpResponseBase:
    """The relay answers its own failures; ninja would show a traceback where DEBUG is on."""
    raise error
