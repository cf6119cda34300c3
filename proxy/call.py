"""One request as it came in, and who presented what with it."""

import re
from collections.abc import MutableMapping
from typing import Any

from accounts.secret import CLIENT_KEY_START
from proxy.errors import InvalidRequest, Unauthenticated
from proxy.headers import Headers, first, text
from proxy.intake import Intake

_MESSAGES = ("/v1/messages", "/v1/messages/count_tokens")
_ODD = re.compile(r"[\s;\\%\x00-\x20\x7f]")
_ENCODED_SLASH = re.compile(rb"%2f|%5c|%2e", re.I)
BEARER = b"bearer "
ANTHROPIC_START = b"sk-ant-"
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

    def check_path(self) -> None:
        """Raises InvalidRequest for a path that the API could take for another one than we do: what is billed and
        limited as one thing must not be done as another."""
        segments = self.path.split("/")[1:]
        is_plain = all(segment.strip(".") and not _ODD.search(segment) for segment in segments)
        if not is_plain or _ENCODED_SLASH.search(self.target.partition(b"?")[0]):
            raise InvalidRequest("The path of this request is not plain: send it as the API's documentation spells it.")
        if self.path not in _MESSAGES and self.path.lower() in _MESSAGES:
            raise InvalidRequest("The API's paths are in lower case: /v1/messages.")

    @property
    def declared_bytes(self) -> int | None:
        """Content-Length; the server has refused anything but digits."""
        value = first(self.headers, b"content-length")
        return int(value) if value.isdigit() and len(value) < 20 else None

    def presented(self) -> tuple[str, Headers]:
        """The client key, and the caller's own Anthropic headers beside it. Raises Unauthenticated.

        A key may come in any header that a client can set: x-nexus-key, x-api-key or Authorization: Bearer. What is
        neither ours nor Anthropic's by its looks may be a key that was imported.
        """
        key, foreign, own = "", "", []
        for name in _KEY_HEADERS:
            for value in (value for header, value in self.headers if header == name):
                found = value[len(BEARER) :].strip() if value[: len(BEARER)].lower() == BEARER else value.strip()
                if found.startswith(CLIENT_KEY_START.encode()) or name == b"x-nexus-key":
                    key = key or found.decode("latin-1")
                elif found.startswith(ANTHROPIC_START):
                    own.append((name, value))
                elif found:
                    foreign = foreign or found.decode("latin-1")
        if key or foreign:
            return key or foreign, own
        if own:
            raise Unauthenticated(
                "This is not a client key of Nexus: those begin with nxs_live_. Send yours as x-api-key or as "
                "Authorization: Bearer; a key or token of Anthropic's may come beside it where your domain allows that."
            )
        raise Unauthenticated(
            "No client key. Send the key that Nexus's operators gave you as x-api-key or as Authorization: Bearer."
        )
