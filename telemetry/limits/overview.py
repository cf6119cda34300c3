"""Every limit and budget about somebody: what says so, how full it is, and which of them do not count and why."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from accounts.models import Budget, ClientKey, Credential, Domain, RateLimit
from accounts.register import budget_facts, limit_facts
from telemetry.limits import plan
from telemetry.limits.conf import DefaultLimit
from telemetry.limits.lines import Line, Origin
from telemetry.limits.meters import Dimension
from telemetry.limits.persons import busiest
from telemetry.limits.reading import Reading, read
from telemetry.limits.remembered import Remembered
from telemetry.limits.spending import spent
from telemetry.limits.store import Use

SWITCHED_OFF = "switched off"
CREDENTIAL_OFF = "its credential is switched off"
REPLACED = "replaced by the limit of {}"
PERSONS_MAX = 10
PAYERS_MAX = 1000
"""Keys, those used last, of which a budget of each key is looked at."""
ASKED_MAX = 50
"""Budgets of one overview for which the record is asked, since no counter knows them: that takes some milliseconds."""
BY_PERSON = (Budget.Each.USER, Budget.Each.SESSION)
VARIABLES = {Dimension.REQUESTS: "RATE_LIMIT_MAX_REQUESTS", Dimension.TOKENS: "RATE_LIMIT_MAX_TOKENS"}
NOBODYS_LIMIT = Q(domain=None, client_key=None, credential=None)
NOBODYS_BUDGET = Q(domain=None, client_key=None)
K = TypeVar("K", bound=Hashable)
_spent: Remembered[int] = Remembered(seconds=10, most=1000)
_busiest: Remembered[list[str]] = Remembered(seconds=10, most=1000)


@dataclass(frozen=True, slots=True)
class Overview:
    lines: list[Line]
    reading: Reading

    @property
    def counting(self) -> list[Line]:
        return [line for line in self.lines if not line.why_not]

    @property
    def others(self) -> list[Line]:
        return [line for line in self.lines if line.why_not]


# --- Of somebody ------------------------------------------------------------------------------------------------


def of_key(key: ClientKey) -> Overview:
    """All that a request of this key may meet: what is about the key, its domain, the domain's credentials, and about
    everything; and the users and sessions that have used most of what each of them has."""
    now, ours = timezone.now(), Q(client_key=key) | Q(domain=key.domain_id)
    book = Book.of(ours | Q(credential__domain=key.domain_id) | NOBODYS_LIMIT, ours | NOBODYS_BUDGET)
    lines = (book.of_key(key, now), book.of_domain(key.domain, now), book.of_credentials(), book.of_all(now))
    return overview([*(line for part in lines for line in part), *book.of_persons(now)])


def of_domain(domain: Domain) -> Overview:
    now, ours = timezone.now(), Q(domain=domain)
    book = Book.of(ours | Q(credential__domain=domain) | NOBODYS_LIMIT, ours | NOBODYS_BUDGET)
    lines = (book.of_domain(domain, now), book.of_credentials(), book.of_all(now))
    return overview([*(line for part in lines for line in part), *book.of_persons(now)])


def of_credential(credential: Credential) -> Overview:
    book = Book.of(Q(credential=credential) | NOBODYS_LIMIT, Q(pk__in=[]))
    return overview([*book.of_credentials(), *book.of_all(timezone.now())])


def of_limit(row: RateLimit) -> Overview:
    return overview(lines_of_limit(row))


def of_budget(budget: Budget) -> Overview:
    """The one line that it is, or the fullest of what each key, user or session has."""
    now = timezone.now()
    if budget.each == Budget.Each.KEY:
        lines = [replace(line_of_budget(budget, now, key.id), person=key.name) for key in _payers(budget)]
        found = overview(lines)
        most = sorted(found.lines, key=lambda line: line.share, reverse=True)[:PERSONS_MAX]
        return Overview(most, found.reading)
    if budget.each in BY_PERSON:
        return overview(lines_of_persons(budget, now))
    return overview([line_of_budget(budget, now)])


def of_keys(keys: Iterable[ClientKey]) -> dict[UUID, list[Line]]:
    """What is about each key alone. For lists of keys: two queries and one reading, however many they are."""
    now, keys = timezone.now(), list(keys)
    of_each_key = Q(each=Budget.Each.KEY, client_key=None)
    book = Book.of(Q(client_key__in=keys), Q(client_key__in=keys) | of_each_key)
    return filled({key.id: list(book.of_key(key, now)) for key in keys})


def of_domains(domains: Iterable[Domain]) -> dict[UUID, list[Line]]:
    """What is about each domain alone, at the same price."""
    now, domains = timezone.now(), list(domains)
    book = Book.of(Q(domain__in=domains), Q(domain__in=domains))
    return filled({domain.id: list(book.of_domain(domain, now)) for domain in domains})


def of_credentials(credentials: Iterable[Credential]) -> dict[UUID, list[Line]]:
    found: dict[UUID, list[Line]] = {credential.id: [] for credential in credentials}
    rows = RateLimit.objects.filter(credential__in=found).select_related("credential")
    for row in rows:
        found[row.credential_id] += lines_of_limit(row)
    return filled(found)


def of_limits(rows: Iterable[RateLimit]) -> dict[UUID, list[Line]]:
    return filled({row.id: list(lines_of_limit(row)) for row in rows})


def of_budgets(budgets: Iterable[Budget]) -> dict[UUID, list[Line]]:
    """Of those that have one purse; what no counter knows of them, the record says."""
    now = timezone.now()
    groups = {budget.id: [line_of_budget(budget, now)] for budget in budgets if budget.each == Budget.Each.TOGETHER}
    return {key: _known(lines) for key, lines in filled(groups).items()}


def overview(lines: Iterable[Line]) -> Overview:
    """With the use of all that count."""
    ranked = sorted(lines, key=lambda line: (bool(line.why_not), line.rank))
    found, reading = _filled(ranked)
    return Overview(_known(found), reading)


def filled(groups: Mapping[K, list[Line]]) -> dict[K, list[Line]]:
    """With the use of all of them: one reading."""
    each = iter(_filled([line for lines in groups.values() for line in lines])[0])
    return {key: [next(each) for _ in lines] for key, lines in groups.items()}


def _filled(lines: list[Line]) -> tuple[list[Line], Reading]:
    reading = read([line.meter for line in lines if not line.why_not])
    uses = iter(reading.uses)
    return [line if line.why_not else replace(line, use=next(uses)) for line in lines], reading


def _known(lines: list[Line]) -> list[Line]:
    """Budgets that no counter knows since the process or Redis was started; and persons', whose counters begin at 0."""
    asked = [line for line in lines if line.use and line.meter.account and (_may_begin_at_0(line) or not line.is_known)]
    return [_from_record(line) if line in asked[:ASKED_MAX] else line for line in lines]


def _may_begin_at_0(line: Line) -> bool:
    return line.meter.is_lazy and line.used == line.held


def _from_record(line: Line) -> Line:
    account = line.meter.account
    if account is None:
        return line
    paid = max(_spent.get(line.meter.key, lambda: spent(account)), line.used - line.held)
    return replace(line, use=Use(line.meter, paid + line.held, line.held))


def _payers(budget: Budget) -> Iterable[ClientKey]:
    keys = ClientKey.objects.filter(revoked_at=None)
    if budget.domain_id is not None:
        keys = keys.filter(domain=budget.domain_id)
    return keys.order_by(F("last_used_at").desc(nulls_last=True))[:PAYERS_MAX]


# --- Which rows are about whom ----------------------------------------------------------------------------------


class Book:
    """The rows that may be about somebody."""

    def __init__(self, limits: Iterable[RateLimit], budgets: Iterable[Budget]) -> None:
        self.limits = list(limits)
        self.budgets = list(budgets)

    @classmethod
    def of(cls, limits: Q, budgets: Q) -> "Book":
        """Two queries."""
        rows = RateLimit.objects.filter(limits).select_related("domain", "client_key", "credential")
        return cls(rows, Budget.objects.filter(budgets))

    def of_key(self, key: ClientKey, now: datetime) -> Iterator[Line]:
        own = [row for row in self.limits if row.client_key_id == key.id]
        yield from _defaults(settings.LIMITS.client_key, "key", key.id, f"client key {key.name}", own)
        for row in own:
            yield from lines_of_limit(row)
        for budget in self.budgets:
            if _has_own_purse(budget, key):
                yield line_of_budget(budget, now, key.id)

    def of_domain(self, domain: Domain, now: datetime) -> Iterator[Line]:
        own = [row for row in self.limits if row.domain_id == domain.id]
        yield from _defaults(settings.LIMITS.domain, "domain", domain.id, f"domain {domain.host}", own)
        for row in own:
            yield from lines_of_limit(row)
        for budget in self.budgets:
            if budget.domain_id == domain.id and budget.each == Budget.Each.TOGETHER:
                yield line_of_budget(budget, now)

    def of_credentials(self) -> Iterator[Line]:
        for row in self.limits:
            if row.credential_id is not None:
                yield from lines_of_limit(row)

    def of_all(self, now: datetime) -> Iterator[Line]:
        for row in self.limits:
            if row.domain_id is row.client_key_id is row.credential_id is None:
                yield from lines_of_limit(row)
        for budget in self.budgets:
            if budget.domain_id is budget.client_key_id is None and budget.each == Budget.Each.TOGETHER:
                yield line_of_budget(budget, now)

    def of_persons(self, now: datetime) -> Iterator[Line]:
        for budget in self.budgets:
            if budget.each in BY_PERSON and budget.is_active:
                yield from lines_of_persons(budget, now)


def lines_of_limit(row: RateLimit) -> Iterator[Line]:
    origin = Origin("limit", row.id, f"limit of {row}")
    for meter in plan.meters_of(limit_facts(row)):
        yield Line(meter, origin, _why_not(row))


def _why_not(row: RateLimit) -> str:
    if not row.is_active:
        return SWITCHED_OFF
    return CREDENTIAL_OFF if row.credential is not None and not row.credential.is_active else ""


def line_of_budget(budget: Budget, now: datetime, key_id: UUID | None = None) -> Line:
    meter = plan.of_budget(budget_facts(budget), key_id, now)
    return Line(meter, _origin(budget), "" if budget.is_active else SWITCHED_OFF)


def lines_of_persons(budget: Budget, now: datetime) -> Iterator[Line]:
    facts = budget_facts(budget)
    for name in _busiest.get(str(budget.id), lambda: busiest(facts, now, PERSONS_MAX)):
        yield Line(plan.of_person(facts, name, now), _origin(budget), person=name)


def _origin(budget: Budget) -> Origin:
    return Origin("budget", budget.id, f"budget {budget.name}")


def _has_own_purse(budget: Budget, key: ClientKey) -> bool:
    if budget.client_key_id is not None:
        return budget.client_key_id == key.id and budget.each == Budget.Each.TOGETHER
    return budget.each == Budget.Each.KEY and budget.domain_id in (None, key.domain_id)


def _defaults(conf: DefaultLimit, scope: str, owner_id: UUID, label: str, own: Iterable[RateLimit]) -> Iterator[Line]:
    """Of the environment, also where they do not count here."""
    is_replaced = any(row.is_active and not row.model_pattern for row in own)
    for meter in plan.of_default(conf, scope, owner_id, label):
        variable = f"{'' if scope == 'key' else 'DOMAIN_'}{VARIABLES[meter.dimension]}"
        origin = Origin("environment", None, variable)
        yield Line(meter, origin, REPLACED.format(label) if is_replaced else "")
