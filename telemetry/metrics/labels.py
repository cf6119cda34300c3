"""Values of labels. Each different one is a time series for ever: what comes from outside has a bound."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from accounts.facts import Snapshot
from telemetry.limits.meters import Dimension
from telemetry.money.pricing import PriceList
from telemetry.record.exchange import Exchange

MODELS_MAX = 100
"""Different names of models in one process; what comes after them is OTHER."""
ASKED_MAX = 50
"""Of these, such as were only asked for: whoever makes names up must not use up the places of models that answer."""
NONE, OTHER = "none", "other"
REFUSING = ("key", "domain", "credential", "all")
_COUNTED = [dimension.words for dimension in Dimension]
LIMITS = {*_COUNTED, *(f"{words} per {span}" for words in _COUNTED for span in ("minute", "hour")), "models"}


class Models:
    """A name is a label if the API answered with it, or if it has a price; and as long as there are places."""

    def __init__(self, prices: Callable[[], PriceList]) -> None:
        self._prices = prices
        self._known: set[str] = set()

    def label(self, exchange: Exchange) -> str:
        """Of the model that answered, else of the one that was asked for."""
        if answered := exchange.answered_model:
            return self._admit(answered, MODELS_MAX)
        asked = exchange.model
        if not asked:
            return NONE
        if asked in self._known or self._has_price(asked, exchange.started_at):
            return self._admit(asked, ASKED_MAX)
        return OTHER

    def _admit(self, name: str, most: int) -> str:
        if name not in self._known:
            if len(self._known) >= most:
                return OTHER
            self._known.add(name)
        return name

    def _has_price(self, name: str, at: datetime) -> bool:
        return len(self._known) < ASKED_MAX and self._prices().price(name, at) is not None


class Domains:
    """Host names by id, as the register has them now."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._read: Snapshot | None = None
        self._hosts: dict[UUID | None, str] = {}

    def refresh(self) -> None:
        snapshot = self._snapshot()
        if snapshot is not self._read:
            self._read = snapshot
            self._hosts = {domain.id: domain.host for domain in snapshot.domains.values()}

    def label(self, domain_id: UUID | None) -> str:
        return self._hosts.get(domain_id, NONE)


def status_class(status: int | None) -> str:
    """As in the sums by the hour: 429 is in no other class."""
    if status is None:
        return NONE
    return "429" if status == 429 else f"{status // 100}xx"


def refused_by(name: str) -> tuple[str, str]:
    """Scope and limit of `Exchange.refused_by`, without the names that people give to budgets."""
    scope, _, limit = name.partition(" ")
    if scope == "budget":
        return scope, "money"
    if name == "unpriced model":
        return "all", name
    words = limit.partition(" in ")[0]  # a default's window may be of any length
    return (scope, words) if scope in REFUSING and words in LIMITS else (OTHER, OTHER)
