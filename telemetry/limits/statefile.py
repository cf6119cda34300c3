"""The limits of an installation without Redis, in a file: the process that serves writes it, so that others can look
and a restart hands out no fresh windows."""

import asyncio
import fcntl
import logging
import os
import time
from pathlib import Path

import msgspec

from telemetry.limits.memory import MemoryStore
from telemetry.limits.state import FORMAT, State

logger = logging.getLogger(__name__)

NAME, LOCK = "limits.state", "limits.lock"
WRITE_SECONDS = 1.0
SHARE_OF_TIME = 0.02
"""Of the event loop's, at most, that goes into it: with very many meters it is written less often."""
METERS_MAX = 2000
"""About half a kilobyte each, and 10 µs of the event loop, where a window is used all the time. Beyond it those that
were not used for longest are left out."""
BYTES_MAX = 64_000_000
_decoder = msgspec.msgpack.Decoder(State)


class StateFile:
    def __init__(self, store: MemoryStore, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._lock: int | None = None
        """Held as long as this process lives: it tells others that somebody serves."""
        self._written = 0
        self._failing = False

    def open(self) -> None:
        """Before anything is counted."""
        state = read_state(self._folder)
        if state is not None:
            self._store.restore(state)
        self._lock = _locked(self._folder, fcntl.LOCK_EX)

    async def run(self) -> None:
        """Runs until cancelled."""
        took_seconds = 0.0
        while True:
            await asyncio.sleep(max(WRITE_SECONDS, took_seconds / SHARE_OF_TIME))
            if self._store.changes != self._written and self._is_ours():
                started = time.perf_counter()
                content = self._content()
                took_seconds = time.perf_counter() - started
                await self._write_aside(content)

    async def _write_aside(self, content: bytes) -> None:
        """In a thread; whoever cancels waits for it, as two must not write at once."""
        writing = asyncio.ensure_future(asyncio.to_thread(self._write, content))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await writing
            raise

    def close(self) -> None:
        """Writes what is not written yet."""
        if self._lock is None:
            return
        if self._store.changes != self._written:
            self._write(self._content())
        os.close(self._lock)
        self._lock = None

    def _is_ours(self) -> bool:
        """Somebody who looked may have held the lock for a moment."""
        if self._lock is None:
            self._lock = _locked(self._folder, fcntl.LOCK_EX)
        return self._lock is not None

    def _content(self) -> bytes:
        self._written = self._store.changes
        return msgspec.msgpack.encode(self._store.state(METERS_MAX))

    def _write(self, content: bytes) -> None:
        new = self._folder / f"{NAME}.new"
        try:
            new.write_bytes(content)
            new.replace(self._folder / NAME)
            self._failing = False
        except OSError as error:
            if not self._failing:
                logger.error("limits are not kept over a restart, %s cannot be written: %s", NAME, error)
            self._failing = True


def read_state(folder: Path) -> State | None:
    """None where there is none that can be read."""
    path = folder / NAME
    try:
        if path.stat().st_size > BYTES_MAX:
            return None
        state = _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        logger.warning("%s cannot be read, limits begin anew: %s", NAME, type(error).__name__)
        return None
    return state if state.format == FORMAT else None


def is_served(folder: Path) -> bool:
    """Whether a process that writes the file is alive."""
    lock = _locked(folder, fcntl.LOCK_SH, os.O_RDONLY)
    if lock is not None:
        os.close(lock)
    return lock is None and (folder / LOCK).exists()


def _locked(folder: Path, kind: int, flags: int = os.O_RDWR | os.O_CREAT) -> int | None:
    try:
        lock = os.open(folder / LOCK, flags, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock
