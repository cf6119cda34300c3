"""Answers that are a little old: pages ask every two seconds, and the record need not answer each time."""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class Remembered(Generic[V]):
    """Two that ask at once may both cause the question; any thread may ask."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._known: dict[str, tuple[float, V]] = {}

    def get(self, key: str, ask: Callable[[], V]) -> V:
        found = self._known.get(key)
        if found is not None and time.monotonic() - found[0] < self._seconds:
            return found[1]
        answer = ask()
        if len(self._known) >= self._most:
            self._known = {}
        self._known[key] = time.monotonic(), answer
        return answer
