"""What the stand-in answers before it is performed: all at once, or as a stream."""

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.asgi import Headers, Json
from bench.standin.heads import encode
from bench.standin.streams import Event


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Headers
    body: bytes
    foreign: bool = False
    """From something in front of the API, and without the API's headers."""


@dataclass(frozen=True, slots=True)
class Stream:
    events: Iterable[Event]
    status: int = 200
    headers: Headers = field(
        default_factory=lambda: encode(
            {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        )
    )


def json_reply(data: Json) -> Reply:
    """Without content-length: the API sends its 200s in chunks."""
    body = json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()
    return Reply(200, encode({"content-type": "application/json"}), body)


def error_reply(status: int, envelope: Json, **headers: str) -> Reply:
    body = json.dumps(envelope, separators=(",", ":")).encode()
    length = {"content-type": "application/json", "content-length": str(len(body))}
    return Reply(status, encode(length | headers), body)


def gzipped(reply: Reply) -> Reply:
    headers = [*reply.headers, *encode({"content-encoding": "gzip", "vary": "Accept-Encoding"})]
    return Reply(reply.status, headers, gzip.compress(reply.body, mtime=0))
