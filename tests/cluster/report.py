"""What each fault did, as a table of docs/reliability.md."""

from dataclasses import dataclass, field
from pathlib import Path

BEGIN, END = "<!-- make cluster-test writes from here -->", "<!-- to here -->"
HEAD = """| what happened | requests | failed | why | slowest head | on record after | lost |
|---|---:|---:|---|---:|---:|---:|"""


@dataclass
class Line:
    fault: str
    requests: int
    failed: int
    why: str
    slowest_seconds: float
    recorded_after_seconds: float
    """From the end of the fault until everything was in the database."""
    lost: int

    def __str__(self) -> str:
        figures = f"{self.requests} | {self.failed} | {self.why} | {self.slowest_seconds:.1f} s"
        return f"| {self.fault} | {figures} | {self.recorded_after_seconds:.0f} s | {self.lost} |"


@dataclass
class Report:
    lines: list[Line] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Sentences."""
    wanted: int = 0
    """How many lines a whole run has."""

    @property
    def is_whole(self) -> bool:
        return bool(self.wanted) and len(self.lines) == self.wanted

    def write(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        table = "\n".join([HEAD, *map(str, self.lines)])
        told = "\n".join(f"- {sentence}" for sentence in self.others)
        path.write_text(f"{before}{BEGIN}\n\n{table}\n\n{told}\n\n{END}{after}", encoding="utf-8")
