"""Who calls: the credential in the headers, and whether the API would take it."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.standin import heads
from bench.standin.errors import ApiError

OAUTH_BETA = "oauth-2025-04-20"


@dataclass(frozen=True, slots=True)
class Caller:
    credential: str
    bearer: bool
    """An OAuth token, not an API key."""

    @property
    def organization(self) -> str:
        return heads.organization_id(self.credential)


ANYBODY = Caller("", bearer=False)


def authenticate(headers: Mapping[str, str]) -> Caller:
    """Raises ApiError. A credential with `revoked` in it is refused like one that was.

    An API key may come in either header: since API version 2026-10-21 the SDKs send it as a bearer token
    (anthropic 2.12.0, _client.py `_api_key_auth`). An OAuth token comes as a bearer token only, with its beta.
    """
    key = headers.get("x-api-key", "")
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if not key and scheme.lower() == "bearer":
        if token.startswith("sk-ant-oat01-") and "revoked" not in token:
            return _with_oauth(headers, token)
        key = token
    if not key:
        raise ApiError(401, "x-api-key header is required")
    if not key.startswith("sk-ant-") or key.startswith("sk-ant-oat") or "revoked" in key:
        raise ApiError(401, "invalid x-api-key")
    return Caller(key, bearer=False)


def _with_oauth(headers: Mapping[str, str], token: str) -> Caller:
    betas = [beta.strip() for beta in headers.get("anthropic-beta", "").split(",")]
    if OAUTH_BETA not in betas:
        raise ApiError(401, "OAuth authentication is currently not supported.")
    return Caller(token, bearer=True)
