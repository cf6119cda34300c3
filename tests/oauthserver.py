"""A real OAuth 2 server, authlib's, on a loopback port: authorization code with PKCE, refresh tokens that are good
once, and whatever trouble a test plans for its token endpoint."""

import asyncio
import contextlib
import json
import secrets
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request, grants
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7636 import CodeChallenge

from bench import serving
from bench.asgi import Receive, Scope, Send, read_body

CLIENT_ID = "nexus-of-the-tests"
ACCESS, REFRESH = "sk-ant-oat01-fake-access-", "sk-ant-ort01-fake-refresh-"


@dataclass
class Trouble:
    """What the token endpoint answers instead of a token."""

    status: int = 500
    body: bytes = b'{"error": "server_error"}'
    headers: dict[str, str] = field(default_factory=dict)


class Client(ClientMixin):  # type: ignore[misc] # authlib has no types
    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_default_redirect_uri(self) -> str:
        return ""

    def get_allowed_scope(self, scope: str) -> str:
        return scope or ""

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return urlsplit(redirect_uri).path.endswith("callback/") or urlsplit(redirect_uri).path == "/callback"

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret.startswith("a-fake-client-secret")

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in ("none", "client_secret_post")

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in ("authorization_code", "refresh_token")


@dataclass
class Code:
    code: str
    redirect_uri: str
    scope: str
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


@dataclass
class Token:
    refresh_token: str
    scope: str

    def check_client(self, client: Client) -> bool:
        return True

    def get_scope(self) -> str:
        return self.scope


class CodeGrant(grants.AuthorizationCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = ["none", "client_secret_post"]

    def save_authorization_code(self, code: str, request: Any) -> None:
        data = request.payload.data
        self.server.codes[code] = Code(
            code,
            data.get("redirect_uri", ""),
            data.get("scope", ""),
            data.get("code_challenge", ""),
            data.get("code_challenge_method", ""),
        )

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        found: Code | None = self.server.codes.get(code)
        return found

    def delete_authorization_code(self, authorization_code: Code) -> None:
        self.server.codes.pop(authorization_code.code, None)

    def authenticate_user(self, authorization_code: Code) -> str:
        return "grace"


class RefreshGrant(grants.RefreshTokenGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = ["none", "client_secret_post"]
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> Token | None:
        found: Token | None = self.server.tokens.get(refresh_token)
        return found

    def authenticate_user(self, refresh_token: Token) -> str:
        return "grace"

    def revoke_old_credential(self, refresh_token: Token) -> None:
        self.server.tokens.pop(refresh_token.refresh_token, None)


class OAuthServer(AuthorizationServer):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.url = ""
        self.codes: dict[str, Code] = {}
        self.tokens: dict[str, Token] = {}
        self.lives_seconds = 3600
        self.delay_seconds = 0.0
        self.troubles: deque[Trouble] = deque()
        self.asked: list[dict[str, Any]] = []
        """What the token endpoint was asked, with the header `anthropic-beta` and the content type."""
        self.register_grant(CodeGrant, [CodeChallenge(required=True)])
        self.register_grant(RefreshGrant)
        self.register_token_generator("default", self._new_token)

    def _new_token(self, scope: str | None = None, **_: Any) -> dict[str, Any]:
        token = {
            "token_type": "Bearer",
            "access_token": ACCESS + secrets.token_hex(8),
            "refresh_token": self.issue(scope or ""),
            "expires_in": self.lives_seconds,
        }
        return {**token, "scope": scope} if scope else token

    def issue(self, scope: str = "") -> str:
        """A refresh token that is good once."""
        refresh_token = REFRESH + secrets.token_hex(8)
        self.tokens[refresh_token] = Token(refresh_token, scope)
        return refresh_token

    @property
    def refreshes(self) -> int:
        return sum(each.get("grant_type") == "refresh_token" for each in self.asked)

    def query_client(self, client_id: str) -> Client | None:
        return Client() if client_id == CLIENT_ID else None

    def save_token(self, token: dict[str, Any], request: Any) -> None:
        """They are kept when they are made."""

    def send_signal(self, *_: Any, **__: Any) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: Any) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> tuple[int, bytes, dict[str, str]]:
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        return status, content, dict(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        sent = {name.decode(): value.decode() for name, value in scope["headers"]}
        if scope["path"] == "/token":
            status, content, headers = await self._token(body, sent)
        else:
            status, content, headers = self._authorize(scope["query_string"].decode())
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": content})

    async def _token(self, body: bytes, sent: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        is_json = sent.get("content-type", "").startswith("application/json")
        data = json.loads(body) if is_json else dict(parse_qsl(body.decode()))
        self.asked.append({**data, "beta": sent.get("anthropic-beta", ""), "is_json": is_json, "at": time.monotonic()})
        await asyncio.sleep(self.delay_seconds)
        if self.troubles:
            trouble = self.troubles.popleft()
            return trouble.status, trouble.body, trouble.headers
        if data.get("grant_type", "").endswith("jwt-bearer"):  # the API's own; authlib's checks the assertion's issuer
            token = {"token_type": "Bearer", "access_token": ACCESS + secrets.token_hex(8), "expires_in": 3600}
            return 200, json.dumps(token).encode(), {"content-type": "application/json"}
        found: tuple[int, bytes, dict[str, str]] = self.create_token_response(_request("POST", "/token", data))
        return found

    def _authorize(self, query: str) -> tuple[int, bytes, dict[str, str]]:
        """Grace is signed in and agrees at once."""
        request = _request("GET", f"/authorize?{query}", dict(parse_qsl(query)))
        grant = self.get_consent_grant(request=request, end_user="grace")
        found: tuple[int, bytes, dict[str, str]] = self.create_authorization_response(
            request, grant_user="grace", grant=grant
        )
        return found


def _request(method: str, target: str, data: dict[str, str]) -> OAuth2Request:
    class Asked(OAuth2Request):  # type: ignore[misc]
        form = data if method == "POST" else {}
        args = data if method == "GET" else {}

    request = Asked(method, f"https://oauth.example.com{target}", headers={})
    request.payload = BasicOAuth2Payload(data)
    return request


@contextlib.contextmanager
def oauth_server() -> Iterator[OAuthServer]:
    server = OAuthServer()
    with serving.in_thread(server) as server.url:
        yield server
