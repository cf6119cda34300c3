"""The health of credentials in an installation without Redis, in a file: a restart forgets no limit of the API that has
hours to go, and other programs can look."""

import asyncio
import logging
from pathlib import Path

import msgspec

from telemetry.credentials.board import Board
from telemetry.credentials.events import Event

logger = logging.getLogger(__name__)

NAME = "credentials.state"
WRITE_SECONDS = 1.0
BYTES_MAX = 16_000_000
_decoder = msgspec.msgpack.Decoder(list[Event])


class StateFile:
    def __init__(self, board: Board, folder: Path) -> None:
        self._board = board
        self._path = folder / NAME
        self._is_failing = False

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            if self._board.take_news():
                await asyncio.to_thread(self.write, self._board.state())

    def write(self, state: list[Event]) -> None:
        new = self._path.with_suffix(".new")
        try:
            new.write_bytes(msgspec.msgpack.encode(state))
            new.replace(self._path)
            self._is_failing = False
        except OSError as error:
            if not self._is_failing:
                logger.error("the health of credentials is not kept over a restart: %s", error)
            self._is_failing = True


def read(folder: Path) -> list[Event]:
    """Nothing where there is no file that can be read."""
    path = folder / NAME
    try:
        return _decoder.decode(path.read_bytes()) if path.stat().st_size <= BYTES_MAX else []
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        logger.warning("%s cannot be read: %s", NAME, type(error).__name__)
        return []
