"""Puts log lines on the standard error. While in the background a thread does: a reader that does not read holds up
nobody else."""

import atexit
import contextlib
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Iterator

WAITING_MAX_CHARACTERS = 16_000_000
"""Beyond it the oldest lines are dropped; how many is said when lines go out again."""
FLUSH_SECONDS = 1.0
STDERR = 2


class LogWriter:
    def __init__(self, descriptor: int = STDERR, max_characters: int = WAITING_MAX_CHARACTERS) -> None:
        self._descriptor = descriptor
        self._max_characters = max_characters
        self._waiting: deque[str] = deque()
        self._waiting_characters = 0
        self._dropped_lines = self._told_lines = 0
        self.say_dropped: Callable[[int], str] = "{} log lines were dropped\n".format
        """What stands in the place of lines that were dropped: a whole line."""
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition(threading.RLock())
        self._is_idle = True

    def write(self, lines: str) -> None:
        """Whole lines, each with its end. Never raises."""
        if self._thread is None:
            _put(self._descriptor, lines)
            return
        with self._changed:
            self._is_idle = False
            self._waiting.append(lines)
            self._waiting_characters += len(lines)
            while self._waiting_characters > self._max_characters:
                self._drop_oldest()
            self._changed.notify()

    @property
    def dropped_lines(self) -> int:
        return self._dropped_lines

    def in_background(self) -> None:
        """From now on, for the life of this process."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()
            atexit.register(self.flush)
            os.register_at_fork(after_in_child=self._in_foreground)

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Blocks until what waits is out, or for that long."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_idle, seconds)

    def _in_foreground(self) -> None:
        """Threads do not survive a fork, and a lock may have been held at that moment."""
        self._thread = None
        self._changed = threading.Condition(threading.RLock())
        self._is_idle = True
        self._waiting.clear()
        self._waiting_characters = 0

    def _drop_oldest(self) -> None:
        lines = self._waiting.popleft()
        self._waiting_characters -= len(lines)
        self._dropped_lines += lines.count("\n")

    def _run(self) -> None:
        while True:
            _put(self._descriptor, self._take())

    def _take(self) -> str:
        """What to put out next, and before it how much is missing there. Waits for it."""
        with self._changed:
            while not self._waiting:
                self._is_idle = True
                self._changed.notify_all()
                self._changed.wait()
            lines = self._waiting.popleft()
            self._waiting_characters -= len(lines)
            missing, self._told_lines = self._dropped_lines - self._told_lines, self._dropped_lines
        return self.say_dropped(missing) + lines if missing else lines


def _put(descriptor: int, lines: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads any more: there is nowhere to say so
        for piece in _pieces(lines.encode("utf-8", "replace")):
            while piece:
                piece = piece[_write_some(descriptor, piece) :]


def _pieces(data: bytes) -> Iterator[bytes]:
    """Whole lines that together fit one write: up to that size processes that share a pipe do not mix theirs."""
    start = 0
    while start < len(data):
        last = data.rfind(b"\n", start, start + select.PIPE_BUF)
        end = (last if last >= 0 else data.find(b"\n", start)) + 1 or len(data)
        yield data[start:end]
        start = end


def _write_some(descriptor: int, data: bytes) -> int:
    try:
        return os.write(descriptor, data)
    except BlockingIOError:  # somebody who shares this pipe or terminal has made it non-blocking
        select.select([], [descriptor], [])
        return 0
