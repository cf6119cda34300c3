"""What a rule says: this is wrong with that."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from telemetry.models import Severity

Facts = dict[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    rule: str
    object: str
    label: str
    sentence: str
    """What is wrong. Figures that move all the time belong into the facts: a sentence that changes is told again."""
    advice: str = ""
    severity: Severity
    domain_id: UUID | None = None
    facts: Facts = field(default_factory=dict)


class Rule(Protocol):
    """Looks at what is there and says all that is wrong with it now; it changes nothing."""

    @property
    def name(self) -> str: ...

    @property
    def ends_quietly(self) -> bool: ...

    def __call__(self, now: datetime) -> Iterable[Finding]: ...
