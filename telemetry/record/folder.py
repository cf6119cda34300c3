"""The folder of one process's spool. A lock on a file in it, not a process id, tells whether its owner is alive."""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from telemetry.record.segment import SUFFIX, remove

LOCK = "lock"
NASCENT, GONE = ".new-", ".gone-"
LEFTOVER_SECONDS = 3600
SET_ASIDE = "broken"
"""Where damaged files go, beside the spools: nobody reads them but a person."""


class Folder:
    """Held as long as this object is: the kernel lets go of the lock when the process dies, however it does."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @property
    def process_id(self) -> UUID:
        return UUID(self.path.name)

    @classmethod
    def create(cls, root: Path, process_id: UUID) -> "Folder":
        """Nobody finds it before it is locked. Raises OSError."""
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        nascent = root / f"{NASCENT}{process_id}"
        nascent.mkdir(mode=0o700)
        lock = _locked(nascent, os.O_RDWR | os.O_CREAT)
        if lock is None:
            raise BlockingIOError(f"{nascent} is locked by another process")
        return cls(nascent.rename(root / str(process_id)), lock)

    @classmethod
    def claim(cls, path: Path) -> "Folder | None":
        """The folder of a process that is gone; None where its owner lives, or somebody else was quicker."""
        try:
            lock = _locked(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        if lock is not None and not path.exists():
            os.close(lock)  # it was adopted and removed between our opening and our locking
            return None
        return None if lock is None else cls(path, lock)

    def segments(self) -> list[Path]:
        return sorted(self.path.glob(f"*{SUFFIX}"))

    def body(self, exchange_id: UUID, which: str) -> Path:
        return self.path / f"{exchange_id}.{which}"

    def set_aside(self, segment: Path) -> Path:
        """Moves a damaged file out of the way, with its log."""
        shelf = self.path.parent / SET_ASIDE
        shelf.mkdir(exist_ok=True, mode=0o700)
        target = shelf / f"{self.path.name}-{segment.name}"
        for ending in ("-wal", ""):
            with contextlib.suppress(FileNotFoundError):
                segment.with_name(segment.name + ending).rename(target.with_name(target.name + ending))
        remove(segment)
        return target

    def set_aside_whole(self) -> Path:
        """For a person to look at: something in it cannot be read."""
        shelf = self.path.parent / SET_ASIDE
        shelf.mkdir(exist_ok=True, mode=0o700)
        target = self.path.rename(shelf / self.path.name)
        self.release()
        return target

    def remove(self) -> None:
        """Under another name first: nobody may find it half removed, and take it for damaged."""
        gone = self.path.with_name(f"{GONE}{self.path.name}")
        with contextlib.suppress(OSError):
            shutil.rmtree(self.path.rename(gone), ignore_errors=True)
        self.release()

    def release(self) -> None:
        if self._lock >= 0:  # its number may be another file's by now
            os.close(self._lock)
            self._lock = -1


def folders(root: Path) -> Iterator[Path]:
    """Of all processes, living or gone, that use this root."""
    if not root.is_dir():
        return
    for path in sorted(root.iterdir()):
        with contextlib.suppress(ValueError):
            UUID(path.name)
            if path.is_dir():
                yield path


def is_served(root: Path) -> bool:
    """Whether a process that spools there is alive."""
    for path in folders(root):
        gone = Folder.claim(path)
        if gone is None and path.exists():
            return True
        if gone is not None:
            gone.release()
    return False


def sweep(root: Path) -> None:
    """Removes what processes that died at their very beginning or end have left."""
    for path in root.iterdir() if root.is_dir() else ():
        with contextlib.suppress(OSError):
            if path.name.startswith((NASCENT, GONE)) and time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def _locked(path: Path, flags: int) -> int | None:
    descriptor = os.open(path / LOCK, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
