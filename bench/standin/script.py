"""What a caller asked the stand-in to do: directives in a header or in the prompt. The README of this package
lists them."""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from bench.standin.errors import ApiError

DIRECTIVE = re.compile(r"\[\[standin\s+([^\]]*)\]\]")


@dataclass(frozen=True, slots=True)
class Script:
    # Whom it concerns.
    times: int | None = None
    key: str = ""
    credential: str = ""
    # Trouble: stops after `times` requests.
    status: int | None = None
    retry_after: str = ""
    retry_after_ms: str = ""
    html: bool = False
    redirect: bool = False
    first_byte_ms: int = 0
    error_at: int | None = None
    die_at: int | None = None
    silent_at: int | None = None
    # The shape of the answer: always holds.
    delay_ms: int = 0
    deltas: int | None = None
    bytes: int | None = None
    tool: str = ""
    gzip: bool = False
    result: str = ""

    def untroubled(self) -> "Script":
        return Script(delay_ms=self.delay_ms, deltas=self.deltas, bytes=self.bytes, tool=self.tool, gzip=self.gzip)


def _flag(value: str) -> bool:
    return value not in ("0", "false", "")


CONVERT: dict[Any, Callable[[str], Any]] = {int: int, int | None: int, str: str, bool: _flag}
READERS = {field.name: CONVERT[field.type] for field in fields(Script)}


def parse(text: str) -> Script:
    """`status=529 times=2`, parted by spaces or semicolons. Raises ApiError, naming what it does not know."""
    script = Script()
    for word in text.replace(";", " ").split():
        name, _, value = word.partition("=")
        try:
            script = replace(script, **{name: READERS[name](value)})
        except (KeyError, ValueError):
            raise ApiError(400, f"standin: cannot read the directive {word!r}") from None
    return script


def read(header: str | None, prompt: str) -> Script:
    """The header's directives, else those in the prompt."""
    if header is not None:
        return parse(header)
    return parse(" ".join(DIRECTIVE.findall(prompt)))


class Rehearsal:
    """Remembers how often each script was played, for `times`, and what is planned for whom."""

    def __init__(self) -> None:
        self._played: Counter[Script] = Counter()
        self._plans: dict[str, deque[Script]] = {}

    def plan(self, credential: str, steps: Iterable[str]) -> None:
        self._plans.setdefault(credential, deque()).extend(map(parse, steps))

    def planned(self, credential: str) -> Script | None:
        for end, steps in self._plans.items():
            if steps and credential.endswith(end):
                return steps.popleft()
        return None

    def cue(self, script: Script, credential: str) -> Script:
        """*script*, or only its shape where its trouble is over or meant for another credential."""
        if not credential.endswith(script.credential):
            return script.untroubled()
        if script.times is None:
            return script
        self._played[script] += 1
        return script if self._played[script] <= script.times else script.untroubled()
