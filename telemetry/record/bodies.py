"""Bodies as they are stored: compressed, and read back byte for byte."""

import zstandard

CODEC = "zstd"
_LEVEL = 3


def compress(body: bytes) -> bytes:
    return zstandard.compress(body, _LEVEL)


def decompress(stored: bytes, codec: str) -> bytes:
    """Raises ValueError for a codec that this version does not know."""
    if codec != CODEC:
        raise ValueError(f"The codec {codec!r} is not known.")
    return zstandard.decompress(stored)
