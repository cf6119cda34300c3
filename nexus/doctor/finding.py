"""What the doctor says of one part."""

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from accounts.secret import without_secrets


class Grade(enum.StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Advice:
    grade: Grade
    sentence: str


@dataclass(slots=True)
class Finding:
    """Of a database, a cache, a folder."""

    part: str
    mode: str
    """What is in use, and where."""
    response_ms: float | None = None
    """How long it took to answer; None: there is nothing to ask."""
    advices: list[Advice] = field(default_factory=list)

    def warn(self, sentence: str) -> None:
        self.advices.append(Advice(Grade.WARNING, sentence))

    def fail(self, sentence: str) -> None:
        self.advices.append(Advice(Grade.PROBLEM, sentence))

    @property
    def grade(self) -> Grade:
        grades = {advice.grade for advice in self.advices}
        return next((grade for grade in (Grade.PROBLEM, Grade.WARNING) if grade in grades), Grade.OK)


Look = Callable[[], list[Finding]]


def told(error: BaseException) -> str:
    """An error's first line, without what must not be shown."""
    lines = str(error).strip().splitlines()
    return without_secrets(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)[:200]


class Stopwatch:
    def __init__(self) -> None:
        self._started = time.perf_counter()

    @property
    def ms(self) -> float:
        return round((time.perf_counter() - self._started) * 1000, 1)
