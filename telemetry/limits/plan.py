"""Which meters apply to a request: from the register, the environment's defaults, and who asks for which model."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from uuid import UUID

import msgspec

from accounts.facts import BudgetFacts, ClientKeyFacts, LimitFacts, Snapshot
from telemetry.limits.conf import DefaultLimit, LimitsConf
from telemetry.limits.meters import Account, Dimension, Meter, as_units
from telemetry.limits.periods import period_of
from telemetry.money.pricing import matches

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
REMEMBERED = 10_000
"""Names of models come from outside: no more plans are remembered at once."""
_WINDOWS = (
    ("requests_per_minute", Dimension.REQUESTS, MINUTE_MS),
    ("requests_per_hour", Dimension.REQUESTS, HOUR_MS),
    ("input_tokens_per_minute", Dimension.INPUT_TOKENS, MINUTE_MS),
    ("input_tokens_per_hour", Dimension.INPUT_TOKENS, HOUR_MS),
    ("output_tokens_per_minute", Dimension.OUTPUT_TOKENS, MINUTE_MS),
    ("output_tokens_per_hour", Dimension.OUTPUT_TOKENS, HOUR_MS),
)


class Plan(msgspec.Struct, frozen=True):
    meters: tuple[Meter, ...]
    """The same for all requests of one key, credential and model on one day."""
    by_person: tuple[BudgetFacts, ...]
    """Budgets of each user and of each session."""
    max_request: BudgetFacts | None
    """That with the smallest allowance for one request."""

    def meters_for(self, key: ClientKeyFacts, user_id: str, session_id: str, now: datetime) -> tuple[Meter, ...]:
        if not self.by_person:
            return self.meters
        named = ((budget, user_id if budget.each == "user" else session_id) for budget in self.by_person)
        return (*self.meters, *(of_person(budget, name, now) for budget, name in named if name))


class Plans:
    """For one process; made anew where the register has changed or a new day has begun."""

    def __init__(self, conf: LimitsConf) -> None:
        self._conf = conf
        self._found: dict[tuple[UUID, UUID | None, str], Plan] = {}
        self._snapshot: Snapshot | None = None
        self._until = datetime.min.replace(tzinfo=UTC)

    def of(
        self, snapshot: Snapshot, key: ClientKeyFacts, credential_id: UUID | None, model: str, now: datetime
    ) -> Plan:
        if snapshot is not self._snapshot or now >= self._until or len(self._found) >= REMEMBERED:
            self._found.clear()
            self._snapshot = snapshot
            # All periods of budgets begin with a day.
            self._until = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        asked = (key.id, credential_id, model)
        plan = self._found.get(asked)
        if plan is None:
            plan = self._found[asked] = self._plan(snapshot, key, credential_id, model, now)
        return plan

    def _plan(
        self, snapshot: Snapshot, key: ClientKeyFacts, credential_id: UUID | None, model: str, now: datetime
    ) -> Plan:
        limits = [limit for limit in snapshot.limits if _is_about(limit, key, credential_id)]
        budgets = [budget for budget in snapshot.budgets if pays(budget, key)]
        meters = [
            *defaults(self._conf, limits, key),
            *(meter for limit in limits if _is_for(limit, model) for meter in meters_of(limit)),
            *(of_budget(budget, key.id, now) for budget in budgets if budget.each in ("", "key")),
        ]
        bounded = [budget for budget in budgets if budget.max_request_usd is not None]
        return Plan(
            meters=tuple(meters),
            by_person=tuple(budget for budget in budgets if budget.each in ("user", "session")),
            max_request=min(bounded, key=lambda budget: budget.max_request_usd or 0, default=None),
        )


def defaults(conf: LimitsConf, limits: Iterable[LimitFacts], key: ClientKeyFacts) -> Iterator[Meter]:
    """Of a key, and of a domain, that has no limit of its own for all models."""
    own = {limit.client_key_id or limit.domain_id for limit in limits if not limit.model_pattern}
    if key.id not in own:
        yield from of_default(conf.client_key, "key", key.id, f"client key {key.name}")
    if key.domain.id not in own:
        yield from of_default(conf.domain, "domain", key.domain.id, f"domain {key.domain.host}")


def _is_about(limit: LimitFacts, key: ClientKeyFacts, credential_id: UUID | None) -> bool:
    if limit.client_key_id is not None:
        return limit.client_key_id == key.id
    if limit.credential_id is not None:
        return limit.credential_id == credential_id
    return limit.domain_id is None or limit.domain_id == key.domain.id


def pays(budget: BudgetFacts, key: ClientKeyFacts) -> bool:
    if budget.client_key_id is not None:
        return budget.client_key_id == key.id
    return budget.domain_id is None or budget.domain_id == key.domain.id


def _is_for(limit: LimitFacts, model: str) -> bool:
    return not limit.model_pattern or matches(limit.model_pattern, model)


def meters_of(limit: LimitFacts) -> Iterator[Meter]:
    scope = _scope_of(limit)
    for name, dimension, window_ms in _WINDOWS:
        if (value := getattr(limit, name)) is not None:
            key = f"{limit.id}:{dimension}:{window_ms}"
            yield _window(key, dimension, value, window_ms, scope, limit.label, limit.model_pattern)
    if limit.concurrent_requests is not None:
        yield Meter(
            key=f"{limit.id}:{Dimension.CONCURRENT}",
            dimension=Dimension.CONCURRENT,
            limit=limit.concurrent_requests,
            scope=scope,
            label=limit.label,
            model_pattern=limit.model_pattern,
        )


def _scope_of(limit: LimitFacts) -> str:
    if limit.client_key_id is not None:
        return "key"
    if limit.credential_id is not None:
        return "credential"
    return "all" if limit.domain_id is None else "domain"


def of_default(default: DefaultLimit, scope: str, owner_id: UUID, label: str) -> Iterator[Meter]:
    for dimension, value in ((Dimension.REQUESTS, default.max_requests), (Dimension.TOKENS, default.max_tokens)):
        if value:
            key = f"default:{owner_id}:{dimension}:{default.window_ms}"
            yield _window(key, dimension, value, default.window_ms, scope, label)


def _window(
    key: str, dimension: Dimension, limit: int, window_ms: int, scope: str, label: str, model_pattern: str = ""
) -> Meter:
    return Meter(
        key=key,
        dimension=dimension,
        limit=limit,
        window_ms=window_ms,
        scope=scope,
        label=label,
        model_pattern=model_pattern,
    )


# --- Money ------------------------------------------------------------------------------------------------------------


def account_of(budget: BudgetFacts, now: datetime) -> Account:
    """Of all its requests together, in the period of that moment."""
    starts_at, ends_at = period_of(budget.period, now, budget.starts_at)
    return Account(
        budget_id=budget.id,
        domain_id=budget.domain_id,
        client_key_id=budget.client_key_id,
        starts_at=starts_at,
        ends_at=ends_at,
    )


def of_budget(budget: BudgetFacts, key_id: UUID | None, now: datetime) -> Meter:
    """Of one that its requests have together, or that each key has."""
    account = account_of(budget, now)
    if budget.each == "key":
        account = msgspec.structs.replace(account, client_key_id=key_id)
    scope = "key" if account.client_key_id else "domain" if budget.domain_id else "all"
    return _money(budget, account, scope, "")


def of_person(budget: BudgetFacts, name: str, now: datetime) -> Meter:
    named = {"user_id" if budget.each == "user" else "session_id": name}
    account = msgspec.structs.replace(account_of(budget, now), **named)
    # A name may be long, and hold anything.
    person = blake2b(name.encode(errors="surrogatepass"), digest_size=12).hexdigest()
    return _money(budget, account, budget.each, person)


def _money(budget: BudgetFacts, account: Account, scope: str, person: str) -> Meter:
    payer = account.client_key_id or account.domain_id or ""
    return Meter(
        key=f"{budget.id}:{payer}:{person}:{int(account.starts_at.timestamp())}",
        dimension=Dimension.MONEY,
        limit=as_units(budget.amount_usd),
        scope=scope,
        label=budget.name,
        account=account,
        is_lazy=bool(account.user_id or account.session_id),
    )
