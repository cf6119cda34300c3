"""Which headers travel. Everything does, but for what belongs to one connection, to us, or to our network
(facts/claude-api.md 2.10). Pure functions over the raw lists, so that order and repeats stay."""

import functools
import re
from collections.abc import Iterable, Sequence

from telemetry.traces.context import TRACE_HEADERS

Header = tuple[bytes, bytes]
Headers = Sequence[Header]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
CLIENT_AUTHENTICATION = frozenset({b"x-api-key", b"authorization", b"x-nexus-key", b"cookie"})
_REWRITTEN = frozenset({b"host", b"content-length", b"expect", b"accept-encoding"})
_OUR_NETWORK = frozenset({b"forwarded", b"via", b"x-real-ip", b"true-client-ip", b"cdn-loop", b"x-accel-buffering"})
_NOT_SENT_UP = HOP_BY_HOP | CLIENT_AUTHENTICATION | _REWRITTEN | _OUR_NETWORK | TRACE_HEADERS
_NETWORK_STARTS = (b"x-forwarded-", b"cf-", b"x-nexus-")

CLIENT_KEY_MARK = b"nxs_live_"
"""`accounts.secret.CLIENT_KEY_START`, named again: no Django is imported here. A test holds them together."""
RECORDED_MAX_BYTES = 64_000
CACHED_MAX_BYTES = 256
_SECRET_WORDS = frozenset(
    {"apikey", "auth", "authorization", "authenticate", "authentication", "cookie", "credential", "credentials"}
    | {"key", "password", "secret", "token"}
)
_SECRET_VALUE = re.compile(r"(nxs_live_|sk-ant-)[\w-]+")

BETA = b"anthropic-beta"
OAUTH_BETA = b"oauth-2025-04-20"


def first(headers: Headers, name: bytes) -> bytes:
    """The value of a header, or nothing."""
    for key, value in headers:
        if key == name:
            return value
    return b""


def text(headers: Headers, name: bytes) -> str:
    return first(headers, name).decode("latin-1")


def for_upstream(headers: Headers, *, drop_origin: bool = False) -> list[tuple[bytes, bytes]]:
    """A client's headers as the API gets them, still without the credential. No compression is asked for: it would
    hide the usage from the meter and could not be passed on unchanged to a client that did not ask."""
    named = _named_by_connection(headers)
    kept = [
        (name, value)
        for name, value in headers
        if name not in _NOT_SENT_UP
        and name not in named
        and not name.startswith(_NETWORK_STARTS)
        and CLIENT_KEY_MARK not in value
    ]
    if drop_origin:
        kept = [(name, value) for name, value in kept if name != b"origin"]
    kept.append((b"accept-encoding", b"identity"))
    return kept


def with_bearer(headers: list[tuple[bytes, bytes]], token: str) -> list[tuple[bytes, bytes]]:
    """Adds a bearer token and the beta that the API requires with it (facts/claude-api.md 2.11)."""
    return [*merge_beta(headers, OAUTH_BETA), (b"authorization", b"Bearer " + token.encode())]


def merge_beta(headers: Iterable[tuple[bytes, bytes]], beta: bytes) -> list[tuple[bytes, bytes]]:
    """Appends a beta to the client's own list; what the client asked for always stays."""
    merged = list(headers)
    lines = [index for index, (name, _) in enumerate(merged) if name == BETA]
    present = {part.strip() for index in lines for part in merged[index][1].split(b",")}
    if beta in present:
        return merged
    if not lines:
        return [*merged, (BETA, beta)]
    last = lines[-1]
    value = merged[last][1]
    merged[last] = (BETA, value + b"," + beta if value.strip() else beta)
    return merged


def for_client(headers: Headers) -> list[Header]:
    """The API's headers as the client gets them: all but those of the connection that ended here."""
    lowered = [(name.lower(), value) for name, value in headers]
    named = _named_by_connection(lowered)
    return [pair for pair in lowered if pair[0] not in HOP_BY_HOP and pair[0] not in named]


def without_cors(headers: Headers) -> list[Header]:
    """Where the word on CORS is ours."""
    return [pair for pair in headers if not pair[0].startswith(b"access-control-")]


def for_record(headers: Headers) -> list[tuple[str, str]]:
    """Headers as they may be stored: whatever could let someone in is left out or masked, and so is a flood."""
    kept: list[tuple[str, str]] = []
    size = 0
    for name, value in headers:
        size += len(name) + len(value)
        if size > RECORDED_MAX_BYTES:
            break
        shown = _shown_name(name) if len(name) <= CACHED_MAX_BYTES else _shown_name.__wrapped__(name)
        if shown is not None:
            kept.append((shown, _masked(value) if len(value) <= CACHED_MAX_BYTES else _masked.__wrapped__(value)))
    return kept


@functools.lru_cache(maxsize=1024)
def _shown_name(name: bytes) -> str | None:
    """None for the name of a header that may hold a secret."""
    lower = name.lower().decode("latin-1")
    return None if _SECRET_WORDS & set(lower.split("-")) else lower


@functools.lru_cache(maxsize=4096)
def _masked(value: bytes) -> str:
    """Most values come again and again: a client says the same of itself with every request."""
    return _SECRET_VALUE.sub(r"\1…", value.decode("latin-1"))


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    lines = [value for name, value in headers if name == b"connection"]
    if not lines or lines in ([b"keep-alive"], [b"close"]):
        return frozenset()
    return frozenset(part.strip().lower() for part in b",".join(lines).split(b","))


def is_event_stream(headers: Headers) -> bool:
    return first(headers, b"content-type").startswith(b"text/event-stream")
