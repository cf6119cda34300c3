"""What the one process of an installation without Redis has counted, in a file: for commands that are asked beside it,
and for the process that serves next, so that a restart does not hand out new windows."""

import asyncio
import logging
import time
from pathlib import Path

import msgspec
from asgiref.sync import sync_to_async

from telemetry.limits.memory import MemoryStore, State

logger = logging.getLogger(__name__)

NAME = "limits.state"
WRITE_SECONDS = 1.0
REST = 50
"""So many times as long as it took to write it, it is left alone."""
_decoder = msgspec.msgpack.Decoder(State)


class StateFile:
    def __init__(self, folder: Path, store: MemoryStore) -> None:
        self._path = folder / NAME
        self._store = store
        self._failing = False

    async def run(self) -> None:
        """Runs until cancelled."""
        pause = WRITE_SECONDS
        while True:
            await asyncio.sleep(pause)
            if self._store.has_changed:
                started = time.perf_counter()
                await self.write()
                pause = max(WRITE_SECONDS, REST * (time.perf_counter() - started))

    async def write(self) -> None:
        self._store.has_changed = False
        await sync_to_async(self._write, thread_sensitive=False)(msgspec.msgpack.encode(self._store.state()))

    def _write(self, content: bytes) -> None:
        beside = self._path.with_suffix(".new")
        try:
            beside.write_bytes(content)
            beside.replace(self._path)
            self._failing = False
        except OSError as error:
            if not self._failing:
                logger.error("what is used of limits cannot be written to %s: %s", self._path, error)
            self._failing = True

    def restore(self) -> None:
        """What the last process left; a file that cannot be read is like none."""
        if (state := read(self._path.parent)) is not None:
            self._store.restore(state)


def read(folder: Path) -> State | None:
    try:
        return _decoder.decode((folder / NAME).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
