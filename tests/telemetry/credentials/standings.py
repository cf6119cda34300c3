"""What running processes would know of credentials, for tests without any."""

import time
from pathlib import Path

from accounts.models import Credential
from telemetry.credentials.board import Board
from telemetry.credentials.circuit import Opening
from telemetry.credentials.conf import CircuitConf, CoolingConf
from telemetry.credentials.events import Cooled, Cooling, Limits, Opened, Said
from telemetry.credentials.headroom import Window
from telemetry.credentials.statefile import StateFile


class Known:
    """Writes the file in which a process that serves without Redis says what it knows."""

    def __init__(self, folder: Path) -> None:
        self._board = Board(CircuitConf(), CoolingConf())
        self._file = StateFile(self._board, folder)

    def open(self, credential: Credential, reason: str = "the API answered 500", seconds: float = 30) -> None:
        self.open_key(str(credential.id), reason, seconds)

    def open_key(self, key: str, reason: str = "the API answered 500", seconds: float = 30) -> None:
        now = time.time()
        self._hear(Opened(key, Opening(now, now - 5, now + seconds, 0, reason)))

    def close(self, credential: Credential) -> None:
        self._hear(Opened(str(credential.id), Opening(time.time())))

    def cool(self, credential: Credential, family: str = "haiku", seconds: float = 60) -> None:
        now = time.time()
        self._hear(Cooled(str(credential.id), family, Cooling(now - 5, now + seconds, now)))

    def limit(self, credential: Credential, family: str = "haiku", **shares: float) -> None:
        """What is left of each window, 0 to 1."""
        windows = tuple(Window(name, limit=100, remaining=100 * share) for name, share in shares.items())
        self._hear(Said(str(credential.id), family, Limits(time.time(), windows)))

    def _hear(self, event: Opened | Cooled | Said) -> None:
        self._board.hear(event, time.time())
        self._file.write(self._board.state())
