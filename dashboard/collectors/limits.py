"""How full limits and budgets are. Labels are few: of all keys, domains and credentials the fullest counts."""

from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from django.db.models import F, Q
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from accounts.models import Budget, ClientKey, Domain
from telemetry.limits import overview
from telemetry.limits.lines import Line
from telemetry.limits.meters import as_usd
from telemetry.limits.overview import Book

KEYS_MAX = 500
"""Those used last: one that is not used is not full."""
DOMAINS_MAX = 500
BUDGETS_MAX = 100


class LimitCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        yield from _limits()
        yield from _budgets()


def _limits() -> Iterator[Metric]:
    ratio = GaugeMetricFamily(
        "nexus_limit_use_ratio",
        "How full a limit is, 1 is full: the fullest of all keys, domains or credentials",
        labels=("scope", "limit"),
    )
    fullest: dict[tuple[str, str], float] = {}
    for line in overview.overview(_lines()).counting:
        of = (line.meter.scope, line.what.partition(" in ")[0])  # a default's window may be of any length
        fullest[of] = max(line.share, fullest.get(of, 0.0))
    for of, share in fullest.items():
        ratio.add_metric(of, share)
    yield ratio


def _lines() -> Iterator[Line]:
    now, book = timezone.now(), Book.of(Q(is_active=True), Q(pk__in=[]))
    keys = ClientKey.objects.filter(revoked_at=None, last_used_at__isnull=False).select_related("domain")
    for key in keys.order_by(F("last_used_at").desc())[:KEYS_MAX]:
        yield from book.of_key(key, now)
    for domain in Domain.objects.filter(is_active=True)[:DOMAINS_MAX]:
        yield from book.of_domain(domain, now)
    yield from book.of_credentials()
    yield from book.of_all(now)


def _budgets() -> Iterator[Metric]:
    families = {
        "spent": GaugeMetricFamily("nexus_budget_spent_usd", "Spent and held in this period", labels=("budget",)),
        "amount": GaugeMetricFamily("nexus_budget_amount_usd", "What may be spent in a period", labels=("budget",)),
        "ratio": GaugeMetricFamily("nexus_budget_use_ratio", "Spent and held, of what may be", labels=("budget",)),
    }
    budgets = list(Budget.objects.filter(is_active=True, each=Budget.Each.TOGETHER)[:BUDGETS_MAX])
    names, lines = _names(budgets), overview.of_budgets(budgets)
    for budget in budgets:
        name = [names[budget.id]]
        families["amount"].add_metric(name, float(budget.amount_usd))
        (line,) = lines[budget.id]
        if line.is_known:
            families["spent"].add_metric(name, float(as_usd(line.used)))
            families["ratio"].add_metric(name, line.share)
    yield from families.values()


def _names(budgets: list[Budget]) -> dict[UUID, str]:
    """Two series of one name would spoil the whole scrape."""
    often = Counter(budget.name for budget in budgets)
    return {
        budget.id: budget.name if often[budget.name] == 1 else f"{budget.name} {budget.id.hex[-8:]}"
        for budget in budgets
    }
