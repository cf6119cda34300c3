"""CORS for pages that call the API through us: off unless origins are configured."""

from proxy.call import Call
from proxy.headers import Headers, first

PREFLIGHT_SECONDS = b"86400"
METHODS = b"GET, POST, DELETE, OPTIONS"


def granted(call: Call, origins: frozenset[str]) -> Headers:
    """The headers that let this page read the answer; none where its origin is not allowed, or is not a page."""
    origin = first(call.headers, b"origin")
    if not origin or not origins & {"*", origin.decode("latin-1")}:
        return ()
    allowed = b"*" if "*" in origins else origin
    return (
        (b"access-control-allow-origin", allowed),
        (b"access-control-expose-headers", b"*"),
        (b"vary", b"origin"),
    )


def is_preflight(call: Call) -> bool:
    return call.method == "OPTIONS" and bool(first(call.headers, b"access-control-request-method"))


def preflight(call: Call) -> Headers:
    """What a page may send: the headers it asks for. They are named, since `*` never covers Authorization."""
    asked = first(call.headers, b"access-control-request-headers") or b"content-type, authorization, x-api-key"
    return (
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", asked),
        (b"access-control-max-age", PREFLIGHT_SECONDS),
    )
