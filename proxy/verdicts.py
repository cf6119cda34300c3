"""What an answer of the API, or a failure to get one, means for the next attempt (facts/claude-api.md 5)."""

from enum import Enum, auto

from proxy.call import Call
from proxy.errors import UpstreamError, UpstreamUnreachable
from proxy.headers import Headers, first

REJECTED = (401, 403)
OVERLOADED = 529
_TRANSIENT = (408, 409)
_HARMLESS = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
_FREE = ("/v1/messages/count_tokens",)
_MESSAGES = "/v1/messages"


class Verdict(Enum):
    DELIVER = auto()
    """It is for the client, whatever it says."""
    AGAIN = auto()
    """The same once more, a little later; after that, with the next credential."""
    NEXT = auto()
    """With the next credential."""


def of_status(call: Call, status: int, headers: Headers, *, is_somebodys: bool) -> Verdict:
    """*is_somebodys*: it is about something that belongs to one of several credentials, and nobody knows which."""
    if status < 400:
        return Verdict.DELIVER
    if status in REJECTED or status == 429:
        return Verdict.NEXT
    if status == 404 and is_somebodys and is_harmless(call):
        return Verdict.NEXT
    if status == OVERLOADED:
        return Verdict.AGAIN if _may_repeat(headers) else Verdict.NEXT
    if (status >= 500 or status in _TRANSIENT) and _is_repeatable(call):
        return Verdict.AGAIN if _may_repeat(headers) else Verdict.DELIVER
    return Verdict.DELIVER


def of_failure(call: Call, error: UpstreamError) -> Verdict:
    """Where the request may have been billed it is not repeated, unless it is free."""
    if isinstance(error, UpstreamUnreachable) or is_harmless(call):
        return Verdict.AGAIN
    return Verdict.DELIVER


def is_harmless(call: Call) -> bool:
    """To repeat it does and costs nothing more."""
    return call.method in _HARMLESS or call.path in _FREE


def _is_repeatable(call: Call) -> bool:
    """An error is not billed. Where something is created, though, it may have been created all the same."""
    return is_harmless(call) or call.path == _MESSAGES


def _may_repeat(headers: Headers) -> bool:
    return first(headers, b"x-should-retry").lower() != b"false"
