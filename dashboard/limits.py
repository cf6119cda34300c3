"""What is used of limits and budgets now, and what they refused: no further than a viewer may see.

Who sees some domains sees what is about those, their keys and their credentials. Limits and budgets of everything tell
what others use: of these there is nothing here for them but the refusals that they met."""

from typing import Any

from django.db.models import Count, F, Q
from django.db.models.functions import TruncDay, TruncHour
from django.utils import timezone

from accounts import hosts
from accounts.access import Viewer
from accounts.ids import first_id_at
from accounts.models import Budget, ClientKey, Credential, Domain
from accounts.register import budget_facts
from dashboard.filters import DEFAULT_SPAN, OfDomain, OfWhom, Refusals, Step
from dashboard.scope import called, seen
from telemetry.limits import overview
from telemetry.limits.forecast import forecast
from telemetry.limits.lines import Line
from telemetry.limits.overshoot import overshoot
from telemetry.limits.overview import Book
from telemetry.limits.reading import read
from telemetry.models import ExchangeRow, Outcome

LINES_MAX = 1000
"""Shown at once; for the others one asks by domain, key or credential."""
KEYS_MAX = 500
BUDGETS_MAX = 200
POINTS_MAX = 10_000
Row = dict[str, Any]


def limits(viewer: Viewer, asked: OfWhom) -> Row:
    """With those that do not count; each once, however many keys it is about."""
    found = overview.overview(_lines(viewer, asked))
    return {
        "limits": [line.as_dict() for line in found.lines[:LINES_MAX]],
        "left_out": max(0, len(found.lines) - LINES_MAX),
        "figures": found.reading.as_dict(),
    }


def budgets(viewer: Viewer, asked: OfDomain) -> Row:
    rows = Budget.objects.filter(_of_domains(_domains(viewer, asked), ("domain", "client_key__domain")))
    if _sees_all(viewer, asked):
        rows |= Budget.objects.filter(overview.NOBODYS_BUDGET)
    shown = list(rows.select_related("domain", "client_key__domain")[:BUDGETS_MAX])
    together = overview.of_budgets(shown)
    return {
        "budgets": [_budget(row, together.get(row.id)) for row in shown],
        "left_out": max(0, rows.count() - BUDGETS_MAX),
        "figures": read([line.meter for lines in together.values() for line in lines][:1]).as_dict(),
    }


def refusals(viewer: Viewer, asked: Refusals) -> Row:
    """By limit, budget or rule: in all, and over time."""
    since = asked.since or timezone.now() - DEFAULT_SPAN
    # Both words of the outcome: by them SQLite finds the index of what was not completed.
    rows = ExchangeRow.objects.filter(seen(viewer, asked.domain), id__gte=first_id_at(since))
    rows = rows.filter(~Q(outcome=Outcome.COMPLETED), outcome=Outcome.REFUSED).exclude(refused_by="").order_by()
    if asked.until is not None:
        rows = rows.filter(id__lt=first_id_at(asked.until))
    if asked.key is not None:
        rows = rows.filter(client_key_id__in=called(ClientKey, viewer, asked.key))
    sums = rows.values("refused_by").annotate(count=Count("id")).order_by("-count", "refused_by")
    cut = TruncDay if asked.step is Step.DAY else TruncHour
    points = rows.annotate(at=cut("started_at")).values("at", "refused_by").annotate(count=Count("id"))
    return {
        "since": since,
        "refusals": [{"name": row["refused_by"], "count": row["count"]} for row in sums[:LINES_MAX]],
        "points": [
            {"at": row["at"], "name": row["refused_by"], "count": row["count"]}
            for row in points.order_by("at", "refused_by")[:POINTS_MAX]
        ],
    }


def _lines(viewer: Viewer, asked: OfWhom) -> list[Line]:
    now, domains = timezone.now(), _domains(viewer, asked)
    of_domains = _of_domains(domains, ("domain", "client_key__domain", "credential__domain"))
    book = Book.of(of_domains | overview.NOBODYS_LIMIT, Q(pk__in=[]))
    if asked.credential is not None:
        wanted = called(Credential, viewer, asked.credential)
        return [line for row in book.limits if row.credential_id in wanted for line in overview.lines_of_limit(row)]
    keys = _keys(viewer, asked, domains)
    if asked.key is not None:
        domains = list({key.domain_id: key.domain for key in keys}.values())
        own = {domain.id for domain in domains}
        book.limits = [row for row in book.limits if row.credential is None or row.credential.domain_id in own]
    found = [line for key in keys for line in book.of_key(key, now)]
    found += [line for domain in domains for line in book.of_domain(domain, now)]
    found += book.of_credentials() if domains else ()
    is_found = bool(domains) if asked.key is None else bool(keys)
    return [*found, *book.of_all(now)] if viewer.domain_ids is None and is_found else found


def _domains(viewer: Viewer, asked: OfDomain) -> list[Domain]:
    rows = Domain.objects.all() if viewer.domain_ids is None else Domain.objects.filter(id__in=viewer.domain_ids)
    return list(rows if asked.domain is None else rows.filter(host=hosts.normalise(asked.domain)))


def _of_domains(domains: list[Domain], columns: tuple[str, ...]) -> Q:
    found = Q(pk__in=[])
    for column in columns:
        found |= Q(**{f"{column}__in": domains})
    return found


def _keys(viewer: Viewer, asked: OfWhom, domains: list[Domain]) -> list[ClientKey]:
    """Those that can be used, the last used first."""
    rows = ClientKey.objects.filter(domain__in=domains).select_related("domain")
    if asked.key is not None:
        return list(rows.filter(id__in=called(ClientKey, viewer, asked.key))[:KEYS_MAX])
    return list(rows.filter(revoked_at=None).order_by(F("last_used_at").desc(nulls_last=True), "id")[:KEYS_MAX])


def _sees_all(viewer: Viewer, asked: OfDomain) -> bool:
    """Whether what is about everything is asked for, by one who may see it."""
    return viewer.domain_ids is None and asked.domain is None


def _budget(row: Budget, lines: list[Line] | None) -> Row:
    return {
        "id": row.id,
        "name": row.name,
        "domain": row.domain.host if row.domain else None,
        "client_key": row.client_key.name if row.client_key else None,
        "each": row.each or None,
        "period": row.period,
        "amount": str(row.amount_usd),
        "is_active": row.is_active,
        "use": [line.as_dict() for line in (overview.of_budget(row).lines if lines is None else lines)],
        "ends_about": forecast(budget_facts(row)) if row.is_active else None,
        "overshoot": str(overshoot(row).amount_usd),
    }
