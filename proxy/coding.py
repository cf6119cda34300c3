"""Content codings of a request body. The body is passed on as it came; this makes the copy that Nexus looks into."""

import zlib

import zstandard

from proxy.errors import BodyTooLarge, InvalidRequest

_ZLIB_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def decode(body: bytes, coding: str, max_bytes: int) -> bytes:
    """Raises InvalidRequest for a coding that Nexus cannot read or that is broken, BodyTooLarge for a small body that
    would become larger than `max_bytes`. Blocks for as long as that takes."""
    try:
        if coding in _ZLIB_WINDOW:
            decoded = _inflate(body, _ZLIB_WINDOW[coding], max_bytes + 1)
        elif coding == "zstd":
            decoded = zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True).read(max_bytes + 1)
        else:
            raise InvalidRequest(f"Content-Encoding {coding[:40]}: Nexus reads gzip, deflate, zstd and plain ones.")
    except (zlib.error, zstandard.ZstdError):
        raise InvalidRequest(f"The request body is not valid {coding}.") from None
    if len(decoded) > max_bytes:
        raise BodyTooLarge(f"The request body is larger than {max_bytes:,} bytes when it is unpacked.")
    return decoded


def _inflate(body: bytes, window: int, max_bytes: int) -> bytes:
    """At most `max_bytes` of it. A gzip body may have several members, one after the other."""
    parts: list[bytes] = []
    size = 0
    while True:
        member = zlib.decompressobj(window)
        parts.append(member.decompress(body, max_bytes - size))
        size += len(parts[-1])
        body = member.unused_data
        if not body or size >= max_bytes:
            return b"".join(parts)
