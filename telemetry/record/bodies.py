"""Bodies as they are stored: compressed, and read back byte for byte."""

import threading

import zstandard

ZSTD = "zstd"
PIECES = "pieces"
"""The layout of a body that is kept in pieces (`telemetry.record.pieces`), compressed like any other."""
_LEVEL = 3
_threads = threading.local()


def compress(body: bytes) -> bytes:
    compressor: zstandard.ZstdCompressor | None = getattr(_threads, "compressor", None)
    if compressor is None:  # it costs more than a small body, and must not be shared between threads
        compressor = _threads.compressor = zstandard.ZstdCompressor(level=_LEVEL)
    return compressor.compress(body)


def decompress(stored: bytes, codec: str) -> bytes:
    """Raises ValueError for a codec that this version does not know."""
    if codec != ZSTD:
        raise ValueError(f"The codec {codec!r} is not known.")
    return zstandard.decompress(stored)
