"""Which limits there are for a client key, a domain, a credential or a budget, and how full they are."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings

from accounts.facts import BudgetFacts, ClientKeyFacts, LimitFacts, Snapshot
from accounts.ids import first_id_at
from telemetry.limits import reading
from telemetry.limits.meters import Dimension, Meter, as_usd
from telemetry.limits.plan import defaults, is_about, meters_of, of_budget, of_person, pays
from telemetry.limits.store import Use
from telemetry.models import ExchangeRow
from telemetry.money.sums import cost_sum

PEOPLE_MAX = 5
"""Users or sessions that are shown of a budget for each of them: those who spent most."""


ADMIN = "the admin"


class Line(NamedTuple):
    """One meter as people read it."""

    use: Use
    origin: str
    """Where it is set: in the admin, or by a variable of the environment."""

    @property
    def meter(self) -> Meter:
        return self.use.meter

    @property
    def percent(self) -> int | None:
        return round(100 * self.use.used / self.meter.limit) if self.use.is_known else None

    @property
    def used_text(self) -> str:
        return _amount(self.meter, self.use.used) if self.use.is_known else "not known"

    @property
    def limit_text(self) -> str:
        return _amount(self.meter, self.meter.limit)

    @property
    def held_text(self) -> str:
        """Of money, what running requests may still use of it."""
        return _amount(self.meter, self.use.held) if self.meter.account and self.use.held else ""

    @property
    def what(self) -> str:
        models = f", only {self.meter.model_pattern}" if self.meter.model_pattern else ""
        if self.meter.account is not None:
            person = self.meter.account.user_id or self.meter.account.session_id
            return f"money{f' of {self.meter.scope} {person}' if person else ''}"
        words = self.meter.dimension.words
        return f"{words} {self.meter.per}{models}" if self.meter.is_window else f"{words}{models}"

    @property
    def frees(self) -> str:
        """When there is room again, where it is full; of money, when it begins anew."""
        account = self.meter.account
        if account is not None:
            return f"{account.ends_at:%Y-%m-%d %H:%M} UTC" if account.ends_at else "never"
        return f"in {-(-self.use.frees_in_ms // 1000)} s" if self.use.frees_in_ms else ""

    def as_dict(self) -> dict[str, Any]:
        """For programs. Money is in USD, as text."""
        meter, account = self.meter, self.meter.account
        amounts: dict[str, Any] = {"limit": meter.limit, "used": self.use.used, "held": self.use.held}
        if account is not None:
            amounts = {name: str(as_usd(amount)) for name, amount in amounts.items()}
        return {
            "name": meter.name,
            "scope": meter.scope,
            "of": meter.label,
            "dimension": meter.dimension.value,
            "models": meter.model_pattern or None,
            "window_seconds": meter.window_ms / 1000 if meter.is_window else None,
            **amounts,
            "percent": self.percent,
            "is_known": self.use.is_known,
            "frees_in_seconds": self.use.frees_in_ms / 1000 if self.use.frees_in_ms else None,
            "user": (account.user_id or None) if account else None,
            "session": (account.session_id or None) if account else None,
            "starts_at": account.starts_at if account else None,
            "ends_at": account.ends_at if account else None,
            "set_by": self.origin,
        }


class Overview(NamedTuple):
    lines: list[Line]
    source: str
    is_live: bool


def of_key(snapshot: Snapshot, key: ClientKeyFacts) -> Overview:
    """All that may refuse a request of this key."""
    now = datetime.now(UTC)
    credentials = [credential.id for credential in snapshot.credentials.get(key.domain.id, ())]
    limits = [limit for limit in snapshot.limits if any(is_about(limit, key, each) for each in (*credentials, None))]
    found = [(meter, _origin(meter)) for meter in defaults(settings.LIMITS, limits, key)]
    found += _of_limits(limits)
    for budget in snapshot.budgets:
        if pays(budget, key):
            found += _of_budget(budget, key, now)
    return _read(found)


def meters_alone(limit: LimitFacts) -> list[Meter]:
    return list(meters_of(limit))


def budget_meters(budget: BudgetFacts, keys: Iterable[ClientKeyFacts]) -> list[Meter]:
    """Of a budget that its requests have together, or that each key has."""
    now = datetime.now(UTC)
    payers = [key for key in keys if pays(budget, key)] if budget.each in ("", "key") else []
    return [of_budget(budget, key, now) for key in (payers if budget.each else payers[:1])]


def fullest(meters: Mapping[UUID, Sequence[Meter]]) -> dict[UUID, Line]:
    """Of each the meter that is fullest, all read at once."""
    read = iter(reading.uses([meter for each in meters.values() for meter in each]).uses)
    found: dict[UUID, Line] = {}
    for owner, each in meters.items():
        lines = [Line(next(read), ADMIN) for _ in each]
        if lines:
            found[owner] = max(lines, key=lambda line: line.percent or 0)
    return found


def of_limit(limit: LimitFacts) -> Overview:
    return _read(_of_limits([limit]))


def of_budget_alone(budget: BudgetFacts, keys: Iterable[ClientKeyFacts]) -> Overview:
    """Together, or by each key, user or session."""
    now = datetime.now(UTC)
    payers = [key for key in keys if pays(budget, key)]
    if budget.each == "key":
        return _read([(of_budget(budget, key, now), ADMIN) for key in payers])
    return _read(_of_budget(budget, payers[0], now) if payers else [])


def keys_of(snapshot: Snapshot) -> list[ClientKeyFacts]:
    return [key for keys in snapshot.keys_by_prefix.values() for key in keys]


def _of_limits(limits: Iterable[LimitFacts]) -> list[tuple[Meter, str]]:
    return [(meter, ADMIN) for limit in limits for meter in meters_of(limit)]


def _of_budget(budget: BudgetFacts, key: ClientKeyFacts, now: datetime) -> list[tuple[Meter, str]]:
    if budget.each not in ("user", "session"):
        return [(of_budget(budget, key, now), ADMIN)]
    return [(of_person(budget, key, name, now), ADMIN) for name in _who_spent_most(budget, key, now)]


def _who_spent_most(budget: BudgetFacts, key: ClientKeyFacts, now: datetime) -> list[str]:
    account = of_person(budget, key, "anybody", now).account
    if account is None:
        return []
    name = "user_id" if budget.each == "user" else "session_id"
    rows = ExchangeRow.objects.filter(id__gte=first_id_at(account.starts_at)).exclude(**{name: ""})
    for column, value in (("domain_id", account.domain_id), ("client_key_id", account.client_key_id)):
        if value is not None:
            rows = rows.filter(**{column: value})
    spenders = rows.order_by().values(name).annotate(units=cost_sum("cost")).order_by("-units")
    return list(spenders.values_list(name, flat=True)[:PEOPLE_MAX])


def _origin(meter: Meter) -> str:
    prefix = "RATE_LIMIT" if meter.scope == "key" else "DOMAIN_RATE_LIMIT"
    return f"{prefix}_MAX_{'REQUESTS' if meter.dimension is Dimension.REQUESTS else 'TOKENS'}"


def _read(found: Sequence[tuple[Meter, str]]) -> Overview:
    read = reading.uses([meter for meter, _ in found])
    lines = [Line(use, origin) for use, (_, origin) in zip(read.uses, found, strict=True)]
    return Overview(lines, read.source, read.is_live)


def _amount(meter: Meter, amount: int) -> str:
    return f"${as_usd(amount):,.4f}" if meter.dimension is Dimension.MONEY else f"{amount:,}"
