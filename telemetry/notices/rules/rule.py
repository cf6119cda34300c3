"""A rule with its numbers, which operators may change in the admin."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from telemetry.models import Limits, RuleSettings
from telemetry.notices.finding import Finding

Find = Callable[[datetime, Limits], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class WatchedRule:
    name: str
    title: str
    defaults: Limits
    find: Find
    numbers: str = ""
    """What `threshold` and `minimum` mean here."""
    ends_quietly: bool = False
    """What it found ends by itself, and nobody is told."""

    def __call__(self, now: datetime) -> Iterable[Finding]:
        limits = self.limits()
        return self.find(now, limits) if limits.is_on else ()

    def limits(self) -> Limits:
        """As they count now."""
        chosen = RuleSettings.objects.filter(rule=self.name).first()
        return self.defaults if chosen is None else chosen.limits(self.defaults)
