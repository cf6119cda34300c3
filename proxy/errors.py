"""What can go wrong on a request's way, as one tree. Each error knows its status, its type in the API's own words
(facts/claude-api.md 5.2) and a sentence that says what to do.

    ProxyError
    ├── InvalidRequest 400   ├── Unauthenticated 401   ├── Forbidden 403      ├── NotFound 404
    ├── MethodNotAllowed 405 ├── BodyTooSlow 408       ├── BodyTooLarge 413   ├── InternalFault 500
    ├── NoCredential 503     ├── Stopping 503         ├── LimitReached 429   ├── BudgetSpent 429
    ├── CredentialsResting 429 or 503
    └── UpstreamError
        ├── UpstreamUnreachable 502
        ├── UpstreamBroke 502
        └── UpstreamSlow 504
"""

import re

import msgspec


class ProxyError(Exception):
    status = 500
    type = "api_error"
    may_retry = False
    """Whether the same request may succeed a little later. Unasked, Claude Code repeats even a 401, for minutes."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    refused_by = ""
    """The limit, budget or rule of ours that said no."""
    waited_seconds = 0.0
    """For room in a limit."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def as_json(self, request_id: str) -> bytes:
        return msgspec.json.encode(
            {"type": "error", "error": {"type": self.type, "message": self.message}, "request_id": request_id}
        )


class InvalidRequest(ProxyError):
    status, type = 400, "invalid_request_error"


class Unauthenticated(ProxyError):
    status, type = 401, "authentication_error"


class Forbidden(ProxyError):
    status, type = 403, "permission_error"

    def __init__(self, message: str, refused_by: str = "") -> None:
        super().__init__(message)
        self.refused_by = refused_by


class NotFound(ProxyError):
    status, type = 404, "not_found_error"


class MethodNotAllowed(ProxyError):
    status, type = 405, "invalid_request_error"

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.headers = ((b"allow", allowed.encode()),)


class BodyTooSlow(ProxyError):
    status, type = 408, "invalid_request_error"
    headers = ((b"connection", b"close"),)


class BodyTooLarge(ProxyError):
    status, type = 413, "request_too_large"
    headers = ((b"connection", b"close"),)


class InternalFault(ProxyError):
    status, type = 500, "api_error"


class NoCredential(ProxyError):
    status = 503


class Stopping(ProxyError):
    status, may_retry = 503, True


RETRY_MAX_SECONDS = 60
"""Python's SDK does not believe a longer retry-after and comes back at once; TypeScript's sleeps for hours
(facts/claude-api.md 5.5)."""


class LimitReached(ProxyError):
    """There will be room again; whoever may wait for it inside is asked to come back by itself."""

    status, type = 429, "rate_limit_error"

    def __init__(
        self,
        message: str,
        refused_by: str,
        retry_after_seconds: int,
        meter_key: str = "",
        frees_in_seconds: float = 0,
        *,
        is_hearsay: bool = False,
    ) -> None:
        super().__init__(message)
        self.refused_by = refused_by
        self.meter_key = meter_key
        """What is full: who wants the same waits in the same line."""
        self.frees_in_seconds = frees_in_seconds
        """To wait less is in vain, unless something is given back; 0: that is not known."""
        self.is_hearsay = is_hearsay
        """Somebody else was told so."""
        self.retry_after_seconds = retry_after_seconds
        self.may_retry = retry_after_seconds <= RETRY_MAX_SECONDS
        self.headers = _refusal(refused_by, retry_after_seconds)

    def again(self) -> "LimitReached":
        """The same for somebody else, to be raised by itself."""
        return LimitReached(
            self.message,
            self.refused_by,
            self.retry_after_seconds,
            self.meter_key,
            self.frees_in_seconds,
            is_hearsay=True,
        )


class BudgetSpent(ProxyError):
    """The money is spent: to come back before the next period is no use (facts/claude-api.md 5.5)."""

    status, type = 429, "billing_error"

    def __init__(self, message: str, refused_by: str, retry_after_seconds: int | None) -> None:
        super().__init__(message)
        self.refused_by = refused_by
        self.headers = _refusal(refused_by, retry_after_seconds)


_UNFIT = re.compile(r"[^\x20-\x7e]")
"""For a header: names of budgets are what people make of them."""


def _refusal(refused_by: str, retry_after_seconds: int | None) -> tuple[tuple[bytes, bytes], ...]:
    name = (b"x-nexus-limit", _UNFIT.sub("?", refused_by).encode())
    if retry_after_seconds is None:
        return (name,)
    return (name, (b"retry-after", str(retry_after_seconds).encode()))


class CredentialsResting(ProxyError):
    """Each credential that could be used waits for its time: for a limit of the API (429), or, where the API gives no
    answers, for the next try (503)."""

    def __init__(self, message: str, retry_after_seconds: int, *, is_limit: bool) -> None:
        super().__init__(message)
        self.status, self.type = (429, "rate_limit_error") if is_limit else (503, "api_error")
        self.refused_by = "credential cooling" if is_limit else "circuit open"
        self.may_retry = retry_after_seconds <= RETRY_MAX_SECONDS
        self.headers = _refusal(self.refused_by, retry_after_seconds)


class UpstreamError(ProxyError):
    """The Claude API did not give an answer, or not a whole one."""

    status, may_retry = 502, True


class UpstreamUnreachable(UpstreamError):
    pass


class UpstreamBroke(UpstreamError):
    pass


class UpstreamSlow(UpstreamError):
    status = 504


class ClientGone(Exception):
    """The client left before its request was complete: there is nobody to answer."""
