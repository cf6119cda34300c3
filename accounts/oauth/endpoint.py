"""The token endpoint (facts/claude-api.md 7.1): one request, one pair of tokens or a sentence on why not. No part of a
token or of an assertion is ever in a sentence."""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec

from accounts.oauth.conf import OAuthConf
from accounts.secret import CLIENT_KEY_START

SECONDS = 15.0
"""For all of it."""
ANSWER_MAX_BYTES = 256_000
TOKEN_MAX_LENGTH = 10_000
DEFAULT_SECONDS, LEAST_SECONDS, MOST_SECONDS = 3600, 60, 86_400
"""How long a token is good, where the endpoint says nothing, too little, too much."""
RETRY_MAX_SECONDS = 3600.0
OAUTH_BETA = "oauth-2025-04-20"
FEDERATION_BETA = "oidc-federation-2026-04-01"
_WORD = re.compile(r"[\x21-\x7e]+")
_CODES = frozenset(
    {"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type"}
    | {"invalid_scope", "access_denied", "server_error", "temporarily_unavailable", "slow_down"}
    | {"invalid_request_error", "authentication_error", "permission_error", "rate_limit_error", "api_error"}
)
"""Others are not told: who knows what an endpoint puts there."""


class TokenError(Exception):
    """No token; the sentence says why. `is_final`: to ask again with the same grant is no use."""

    def __init__(self, message: str, *, is_final: bool = False, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.is_final = is_final
        self.retry_after_seconds = retry_after_seconds


class Granted(msgspec.Struct, frozen=True):
    access_token: str
    refresh_token: str
    """Empty: the old one stays good."""
    expires_at: datetime
    scopes: str

    def __repr__(self) -> str:
        return f"Granted(expires_at={self.expires_at:%Y-%m-%dT%H:%M:%S})"


def ask(conf: OAuthConf, grant: Mapping[str, str], beta: str) -> Granted:
    """Raises TokenError."""
    body = {"data" if conf.is_form else "json": dict(grant)}
    try:
        with httpx.Client(timeout=SECONDS, follow_redirects=False) as client:
            status, headers, content = _post(client, conf.token_url, body, {"anthropic-beta": beta})
    except (httpx.TimeoutException, TimeoutError):
        raise TokenError(f"The token endpoint has not answered within {SECONDS:g} seconds.") from None
    except httpx.HTTPError as error:
        # Only its kind: the text of some errors quotes what was sent.
        raise TokenError(f"The token endpoint cannot be reached ({type(error).__name__}).") from None
    if status != 200:
        raise _refusal(status, headers, content)
    return _granted(content)


def _post(
    client: httpx.Client, url: str, body: dict[str, Any], headers: dict[str, str]
) -> tuple[int, httpx.Headers, bytes]:
    """Raises httpx.HTTPError, TimeoutError."""
    deadline, content = time.monotonic() + SECONDS, b""
    with client.stream("POST", url, headers={"accept": "application/json", **headers}, **body) as response:
        for piece in response.iter_bytes():
            if time.monotonic() > deadline:
                raise TimeoutError
            content += piece
            if len(content) > ANSWER_MAX_BYTES:
                break
    return response.status_code, response.headers, content


class _Answer(msgspec.Struct):
    access_token: str
    token_type: str = "Bearer"  # noqa: S105 (no secret)
    expires_in: float | str | None = None
    refresh_token: str | None = None
    scope: str | None = None


def _granted(content: bytes) -> Granted:
    try:
        answer = msgspec.json.decode(content, type=_Answer)
        seconds = float(answer.expires_in or DEFAULT_SECONDS)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        raise TokenError("The token endpoint answered 200 with what is no token response.") from None
    for token in (answer.access_token, answer.refresh_token):
        if token is not None and not _is_token(token):
            raise TokenError("The token endpoint answered with a token that cannot be one.")
    if answer.token_type.lower() != "bearer":
        raise TokenError("The token endpoint answered with a token that is no bearer token.")
    good_for = timedelta(seconds=min(MOST_SECONDS, max(LEAST_SECONDS, seconds)))
    return Granted(
        answer.access_token, answer.refresh_token or "", datetime.now(UTC) + good_for, (answer.scope or "")[:500]
    )


def _is_token(text: str) -> bool:
    return len(text) <= TOKEN_MAX_LENGTH and bool(_WORD.fullmatch(text)) and not text.startswith(CLIENT_KEY_START)


def _refusal(status: int, headers: httpx.Headers, content: bytes) -> TokenError:
    """The code of RFC 6749 5.2, or of the API, is told; a description may quote what was sent."""
    code = _code(content)
    said = f" ({code})" if code else ""
    is_final = status in (400, 401, 403) and code in ("invalid_grant", "invalid_client", "unauthorized_client")
    return TokenError(
        f"The token endpoint answered {status}{said}.",
        is_final=is_final,
        retry_after_seconds=_retry_after_seconds(headers.get("retry-after", "")),
    )


def _code(content: bytes) -> str:
    try:
        found = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    error = found.get("error") if isinstance(found, dict) else None
    code = error.get("type") if isinstance(error, dict) else error
    return code if isinstance(code, str) and code in _CODES else ""


def _retry_after_seconds(value: str) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(RETRY_MAX_SECONDS, max(0.0, seconds)) if seconds == seconds else None
