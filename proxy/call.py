"""One request as it came in, and who presented what with it."""

from collections.abc import MutableMapping
from typing import Any

from accounts.secret import CLIENT_KEY_START
from proxy.errors import Unauthenticated
from proxy.headers import Headers, first, text
from proxy.intake import Intake

BEARER = b"bearer "
_KEY_HEADERS = (b"x-nexus-key", b"x-api-key", b"authorization")


class Call:
    __slots__ = ("address", "headers", "intake", "method", "path", "target")

    def __init__(self, scope: MutableMapping[str, Any], intake: Intake) -> None:
        query = scope["query_string"]
        raw_path = scope.get("raw_path") or scope["path"].encode()
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.target: bytes = raw_path.partition(b"?")[0] + (b"?" + query if query else b"")
        """The raw path and query: what the API gets, to the byte."""
        self.headers: Headers = scope["headers"]
        client = scope.get("client")
        self.address: str = client[0] if client else ""
        self.intake = intake

    @property
    def host(self) -> str:
        return text(self.headers, b"host")

    @property
    def declared_bytes(self) -> int | None:
        """Content-Length; the server has refused anything but digits."""
        value = first(self.headers, b"content-length")
        return int(value) if value.isdigit() else None

    def presented(self) -> tuple[str, Headers]:
        """The client key, and the caller's own Anthropic headers beside it. Raises Unauthenticated.

        A key may come in any header that a client can set: x-nexus-key, x-api-key or Authorization: Bearer.
        """
        key, own = "", []
        for name in _KEY_HEADERS:
            for value in (value for header, value in self.headers if header == name):
                found = value[len(BEARER) :].strip() if value[: len(BEARER)].lower() == BEARER else value.strip()
                if found.startswith(CLIENT_KEY_START.encode()) or name == b"x-nexus-key":
                    key = key or found.decode("latin-1")
                elif found:
                    own.append((name, value))
        if key:
            return key, own
        if own:
            raise Unauthenticated(
                "This is not a client key of Nexus: those begin with nxs_live_. Send yours as x-api-key or as "
                "Authorization: Bearer; a key or token of Anthropic's may come beside it where your domain allows that."
            )
        raise Unauthenticated(
            "No client key. Send the key that Nexus's operators gave you as x-api-key or as Authorization: Bearer."
        )
