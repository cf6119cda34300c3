"""Bodies that are too large for a row of the spool, each in a file of its own beside it."""

import contextlib
import logging
import threading
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

import msgspec

from telemetry.record.exchange import Bodies
from telemetry.record.folder import Folder
from telemetry.record.segment import IN_FILE, Row

logger = logging.getLogger(__name__)


class BodyFiles:
    """Writes, counts and removes them. Safe between threads."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._sizes: dict[Path, int] = {}
        self.held_bytes = 0
        """What they take, or are about to."""

    def reserve(self, exchange_id: UUID, which: str, size_bytes: int) -> Path:
        """Counts a file before it is written: others must not take the same room meanwhile."""
        path = self._folder.body(exchange_id, which)
        with self._lock:
            self.held_bytes += size_bytes - self._sizes.get(path, 0)
            self._sizes[path] = size_bytes
        return path

    def write(self, exchange_id: UUID, which: str, body: bytes) -> bool:
        """Whole or not at all: a process may be killed half-way. False where the disk does not take it."""
        path = self.reserve(exchange_id, which, len(body))
        nascent = path.with_name(f"{path.name}.part")
        try:
            nascent.write_bytes(body)
            nascent.rename(path)
        except OSError as error:
            logger.error("the %s body of exchange %s could not be spooled: %s", which, exchange_id, error.strerror)
            self.remove([nascent, path])
            return False
        return True

    def remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            with contextlib.suppress(OSError):
                path.unlink()
            with self._lock:
                self.held_bytes -= self._sizes.pop(path, 0)

    def of(self, exchange_id: UUID, request_from: int, response_from: int) -> list[Path]:
        which = (("request", request_from), ("response", response_from))
        return [self._folder.body(exchange_id, name) for name, where in which if where == IN_FILE]


def with_files(folder: Folder, row: Row) -> Bodies | None:
    """The bodies of a row with those that lie in files. A file that is not there was never written whole, or was stored
    before its process was killed: then nothing is written in its place."""
    bodies = row.bodies
    if bodies is None:
        return None
    if row.request_from == IN_FILE:
        request = _read(folder.body(row.exchange.id, "request"))
        is_whole = bodies.request_is_whole and request is not None
        bodies = msgspec.structs.replace(bodies, request=request or b"", request_is_whole=is_whole)
    if row.response_from == IN_FILE:
        response = _read(folder.body(row.exchange.id, "response"))
        is_whole = bodies.response_is_whole and response is not None
        bodies = msgspec.structs.replace(bodies, response=[response or b""], response_is_whole=is_whole)
    return bodies


def size_bytes(folder: Folder, row: Row) -> int:
    """Of the bodies of a row, those in files included."""
    size = row.bodies.size_bytes if row.bodies else 0
    for which, where in (("request", row.request_from), ("response", row.response_from)):
        if where == IN_FILE:
            with contextlib.suppress(OSError):
                size += folder.body(row.exchange.id, which).stat().st_size
    return size


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.error("a body in the spool cannot be read, its exchange is stored without: %s", error)
        return None
