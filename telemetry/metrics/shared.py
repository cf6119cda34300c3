"""Where the worker processes of one `nexus serve` keep what they count, so that any of them answers for all: files in
memory of prometheus_client's multiprocess mode. One process alone keeps it to itself.

A lock on a file, not a process id, tells which of them live. What the dead have counted stays counted; what they
measured goes with them.
"""

import contextlib
import fcntl
import os
import struct
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, disable_created_metrics
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from accounts.ids import new_id
from telemetry.record.folder import Folder, folders, sweep

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Read by prometheus_client when a process first imports it."""
ENDED = "ended"
"""Stands for the process id in the file of what dead processes have counted."""
ADDED_UP = ("counter", "histogram")
ALIVE, FOLDING = ".alive", "folding.lock"
READ_TRIES, READ_PAUSE_SECONDS = 5, 0.01

disable_created_metrics()  # series of when a series began: twice as many, and not in the shared files anyway
REGISTRY = CollectorRegistry()
"""Of this process."""


@contextlib.contextmanager
def shared_by_workers(root: Path) -> Iterator[None]:
    """For the parent, before it starts workers: a new folder in *root*, removed at the end. Those of parents that are
    gone are removed first."""
    _clear(root)
    folder = Folder.create(root, new_id())
    os.environ[VARIABLE] = str(folder.path)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        folder.remove()


def _clear(root: Path) -> None:
    for path in folders(root):
        if (folder := Folder.claim(path)) is not None:
            folder.remove()
    sweep(root)


class Membership:
    """Of one worker in the shared folder; nothing where a process is alone. Held until the process dies."""

    def __init__(self) -> None:
        self._lock: int | None = None
        if (folder := _folder()) is None:
            return
        self._lock = os.open(folder / f"{os.getpid()}{ALIVE}", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        mark_process_dead(os.getpid(), str(folder))  # one of the same id may have been here before
        _fold(folder)


def registry_of_node() -> CollectorRegistry:
    """Of all workers that share the folder, else of this process."""
    folder = _folder()
    if folder is None:
        return REGISTRY
    for process_id in _dead(folder):
        mark_process_dead(process_id, str(folder))
    together = CollectorRegistry()
    together.register(_Together(folder))
    return together


class _Together(Collector):
    """What all files say, read while nobody adds files up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = MultiProcessCollector(None, str(folder))

    def collect(self) -> Iterator[Metric]:
        with _locked(self._folder, fcntl.LOCK_SH):
            yield from self._read()

    def _read(self) -> list[Metric]:
        for _ in range(READ_TRIES):
            with contextlib.suppress(struct.error):  # a file that is just being made has no length yet
                return list(self._files.collect())
            time.sleep(READ_PAUSE_SECONDS)
        return list(self._files.collect())


def _fold(folder: Path) -> None:
    """Adds the files of the dead up in one, or a worker that dies again and again would leave more and more."""
    with _locked(folder, fcntl.LOCK_EX):
        dead = _dead(folder)
        for kind in ADDED_UP:
            if left := [path for process_id in dead if (path := folder / f"{kind}_{process_id}.db").exists()]:
                _add_up([*left, folder / f"{kind}_{ENDED}.db"])
        for process_id in dead:
            mark_process_dead(process_id, str(folder))
            (folder / f"{process_id}{ALIVE}").unlink(missing_ok=True)


def _add_up(files: list[Path]) -> None:
    """Into the last one."""
    sums: defaultdict[str, float] = defaultdict(float)
    for path in files:
        if path.exists():
            for key, value, *_ in MmapedDict.read_all_values_from_file(path):
                sums[key] += value
    target = files[-1].with_suffix(".new")
    target.unlink(missing_ok=True)
    written = MmapedDict(str(target))
    for key, value in sums.items():
        written.write_value(key, value, 0.0)
    written.close()
    for path in files[:-1]:
        path.unlink()
    target.rename(files[-1])


def _dead(folder: Path) -> list[int]:
    """Process ids whose lock is free."""
    found = {int(path.stem) for path in folder.glob(f"*{ALIVE}")}
    return [process_id for process_id in found if process_id != os.getpid() and not _lives(folder, process_id)]


def _lives(folder: Path, process_id: int) -> bool:
    try:
        lock = os.open(folder / f"{process_id}{ALIVE}", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    lock = os.open(folder / FOLDING, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, how)
        yield
    finally:
        os.close(lock)


def _folder() -> Path | None:
    found = os.environ.get(VARIABLE)
    return Path(found) if found else None
