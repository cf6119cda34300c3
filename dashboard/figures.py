"""Figures, all of them from the sums by the hour and by the day: named after what they serve, and no further than a
viewer may see."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import BigIntegerField, Func, Max, Model, Q, QuerySet, Sum
from django.utils import timezone

from accounts.access import Viewer
from accounts.models import ClientKey, Credential, Domain
from dashboard.filters import DEFAULT_SPAN, EPOCH, By, Figures, NotAsked, Span, Step
from dashboard.scope import called, names, seen
from dashboard.sums import TOKENS, WITHOUT_ERROR, Sources, Sums, add, grouped, sums_of, total
from telemetry.models import DayRow, HourKind, HourRow
from telemetry.money.days import DAY
from telemetry.money.marks import start_of_hour
from telemetry.money.sums import HOUR, as_usd, cost_sum

Row = dict[str, Any]
MAX_POINTS = 300
MAX_CHOICES = 1000
GROUPS_MAX = 5000
DAYS_FROM = 3


COLUMN_OF = {
    By.MODEL: "model",
    By.KEY: "client_key_id",
    By.DOMAIN: "domain_id",
    By.CREDENTIAL: "credential_id",
    By.KIND: "kind",
}
NAMED_BY: dict[By, tuple[type[Model], str]] = {
    By.KEY: (ClientKey, "name"),
    By.DOMAIN: (Domain, "host"),
    By.CREDENTIAL: (Credential, "name"),
}


@dataclass(frozen=True, slots=True)
class Hours:
    """Whole ones."""

    since: datetime
    until: datetime

    @property
    def before(self) -> "Hours":
        """As many, right before."""
        return Hours(self.since - (self.until - self.since), self.since)

    @property
    def whole_days(self) -> "Hours":
        """The days, in UTC, that lie in them as a whole; none, maybe."""
        first, last = self.since.replace(hour=0), self.until.replace(hour=0)
        since = first if first == self.since else first + DAY
        return Hours(since, max(since, last))

    @property
    def count(self) -> int:
        return (self.until - self.since) // HOUR


@dataclass(frozen=True, slots=True)
class Point:
    at: datetime
    figures: Sums


@dataclass(frozen=True, slots=True)
class Part:
    """Of a breakdown: what one model, key, domain, credential or kind came to."""

    id: UUID | str | None
    name: str | None
    figures: Sums


@dataclass(frozen=True, slots=True)
class Choice:
    id: UUID
    name: str | None


def token_stats(viewer: Viewer, span: Span) -> list[Row]:
    """Since the hour of a moment, a row for each domain that had requests."""
    columns = {"input": "input_tokens", "output": "output_tokens", "cache_read": "cache_read_tokens"}
    rows = (
        _since(viewer, span)
        .values("domain_id")
        .annotate(
            **{name: Sum(column) for name, column in columns.items()},
            cache_write=Sum("cache_write_5m_tokens") + Sum("cache_write_1h_tokens"),
            count=Sum("requests"),
            query_evaluations=Sum("requests", filter=Q(kind=HourKind.QUERY_EVALUATION), default=0),
            inferences=Sum("requests", filter=Q(kind=HourKind.INFERENCE), default=0),
            tools=Sum("tool_calls"),
            without_price=Sum("unpriced"),
            units=cost_sum(),
            last=Max("last_started_at"),
        )
        .order_by()
    )
    return [row | {"cost": as_usd(row.pop("units"))} for row in _with_hosts(rows)]


def storage_stats(viewer: Viewer, span: Span) -> list[Row]:
    """Since the hour of a moment, a row for each domain and kind of request."""
    errors = Sum("requests") - sum((Sum(outcome.value) for outcome in WITHOUT_ERROR[1:]), Sum(WITHOUT_ERROR[0].value))
    stats = _with_hosts(
        _since(viewer, span)
        .values("domain_id", "kind")
        .annotate(count=Sum("requests"), errors=errors, **{f"sum_of_{name}": Sum(name) for name in TOKENS})
        .order_by()
    )
    for row in stats:
        row |= {name: row.pop(f"sum_of_{name}") for name in TOKENS} | {"request_type": row["kind"]}
    return sorted(stats, key=lambda row: (row["domain"] or "", row["kind"]))


def hours_of(asked: Figures) -> Hours:
    """Whole hours: those in which the span begins and ends count in full. Raises NotAsked."""
    next_hour = start_of_hour(timezone.now()) + HOUR
    until = min(_hour_from(asked.until), next_hour) if asked.until else next_hour
    since = counted_since(asked.since)
    if since >= until:
        raise NotAsked("`since` has to be earlier than `until`, and than now.")
    return Hours(since, until)


def counted_since(since: datetime | None) -> datetime:
    """The beginning of its hour."""
    return start_of_hour((since or timezone.now() - DEFAULT_SPAN).astimezone(UTC))


def totals(viewer: Viewer, asked: Figures, hours: Hours) -> Sums:
    return sums_of(total(_sources(viewer, asked, hours)))


def series(viewer: Viewer, asked: Figures, hours: Hours, step: Step | None) -> tuple[int, list[Point]]:
    """The hours of a point, and all points, also those in which nothing was. Where there would be more than 300 of the
    step, a point is several of them."""
    width, first, found = _series(viewer, asked, hours, step)
    return width, _points(hours, width, first, found)


def series_and_totals(
    viewer: Viewer, asked: Figures, hours: Hours, *, times: bool = True
) -> tuple[int, list[Point], Sums]:
    """The same and what they come to, at the price of one query."""
    width, first, found = _series(viewer, asked, hours, None, times=times)
    names_of_sums = [name for name in next(iter(found.values()), {}) if name.startswith("all_")]
    together = {name: sum(row[name] for row in found.values()) for name in names_of_sums}
    return width, _points(hours, width, first, found), sums_of(together)


def _series(
    viewer: Viewer, asked: Figures, hours: Hours, step: Step | None, *, times: bool = True
) -> tuple[int, datetime, dict[int, dict[str, Any]]]:
    """The hours of a point, when the first begins, and the sums by the number of their point."""
    unit = 24 if step is Step.DAY or (step is None and hours.count > MAX_POINTS) else 1
    first = hours.since.replace(hour=0) if unit == 24 else hours.since
    units = -(-((hours.until - first) // HOUR) // unit)
    width = unit * -(-units // MAX_POINTS)
    number = (_HourNumber("hour") - (first - EPOCH) // HOUR) / width
    sources = _sources(viewer, asked, hours) if unit == 24 else [_rows(viewer, asked, hours)]
    numbered = [rows.annotate(number=number) for rows in sources]
    return width, first, {row["number"]: row for row in grouped(numbered, "number", times=times)}


def _points(hours: Hours, width: int, first: datetime, found: dict[int, dict[str, Any]]) -> list[Point]:
    ats = _steps(first, hours.until, width * HOUR)
    return [Point(max(at, hours.since), sums_of(found.get(place, {}))) for place, at in enumerate(ats)]


def breakdown(
    viewer: Viewer, asked: Figures, hours: Hours, by: By, limit: int, *, times: bool = True
) -> tuple[list[Part], Sums | None]:
    """Those with the most requests first; and what all others come to, where there are more than *limit*."""
    column = COLUMN_OF[by]
    sources = _sources(viewer, asked, hours)
    found = grouped(sources, column, times=times, limit=limit + 1)
    shown = found[:limit]
    named = _names_of(by, [row[column] for row in shown])
    parts = [Part(row[column], named.get(row[column]), sums_of(row)) for row in shown]
    if len(found) <= limit:
        return parts, None
    everything = total(sources, times=times)
    return parts, sums_of({name: value - sum(row[name] for row in shown) for name, value in everything.items()})


def breakdowns(
    viewer: Viewer, asked: Figures, hours: Hours, bys: Sequence[By], limit: int, *, times: bool = False
) -> dict[By, tuple[list[Part], Sums | None]]:
    """The same by several columns at the price of one look at the rows: the groups of all columns together are few,
    and are summed here. Where they are many, one look for each."""
    columns = [COLUMN_OF[by] for by in bys]
    groups = grouped(_sources(viewer, asked, hours), *columns, times=times, limit=GROUPS_MAX + 1)
    if len(groups) > GROUPS_MAX:
        return {by: breakdown(viewer, asked, hours, by, limit, times=times) for by in bys}
    return {by: _parts(by, groups, limit) for by in bys}


def _parts(by: By, groups: Iterable[Row], limit: int) -> tuple[list[Part], Sums | None]:
    column = COLUMN_OF[by]
    found: dict[Any, Row] = {}
    for group in groups:
        add(found.setdefault(group[column], {}), group)
    ordered = sorted(found.items(), key=lambda one: (-one[1]["all_requests"], -one[1]["all_cost"], str(one[0] or "")))
    named = _names_of(by, [value for value, _ in ordered[:limit]])
    parts = [Part(value, named.get(value), sums_of(row)) for value, row in ordered[:limit]]
    rest: Row = {}
    for _, row in ordered[limit:]:
        add(rest, row)
    return parts, sums_of(rest) if rest else None


def choices(viewer: Viewer, asked: Figures, hours: Hours) -> dict[str, list[str] | list[Choice]]:
    """What there is to choose from in those hours."""
    sources = _sources(viewer, asked, hours)
    found: dict[str, list[str] | list[Choice]] = {}
    for by, column in COLUMN_OF.items():
        values = list({value for rows in sources for value in _values(rows, column)})[:MAX_CHOICES]
        found[f"{by.value}s"] = _choices(by, values) if by in NAMED_BY else sorted(values)
    return found


def _values(rows: "QuerySet[Any]", column: str) -> Iterable[Any]:
    return (
        rows.order_by().filter(**{f"{column}__isnull": False}).values_list(column, flat=True).distinct()[:MAX_CHOICES]
    )


class _HourNumber(Func):
    """Hours since 1970."""

    template = "CAST(EXTRACT(EPOCH FROM %(expressions)s) / 3600 AS bigint)"
    output_field = BigIntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "(CAST(strftime('%%%%s', %(expressions)s) AS integer) / 3600)"
        return self.as_sql(compiler, connection, template=template, **context)


def _sources(viewer: Viewer, asked: Figures, hours: Hours) -> Sources:
    """Whole days from the sums by the day, where they are enough to be worth more queries; the hours before and after
    them from those by the hour."""
    days = hours.whole_days
    if days.count < DAYS_FROM * 24:
        return [_rows(viewer, asked, hours)]
    edges = [edge for edge in (Hours(hours.since, days.since), Hours(days.until, hours.until)) if edge.count]
    return [_rows(viewer, asked, days, DayRow), *(_rows(viewer, asked, edge) for edge in edges)]


def _rows(viewer: Viewer, asked: Figures, hours: Hours, of: type[DayRow | HourRow] = HourRow) -> "QuerySet[Any]":
    found = [seen(viewer, asked.domain), Q(hour__gte=hours.since, hour__lt=hours.until)]
    if asked.key is not None:
        found.append(Q(client_key_id__in=called(ClientKey, viewer, asked.key)))
    if asked.credential is not None:
        found.append(Q(credential_id__in=called(Credential, viewer, asked.credential)))
    exact = {"model": asked.model, "kind": asked.kind}
    found += [Q(**{name: value}) for name, value in exact.items() if value is not None]
    return of._default_manager.filter(*found)


def _since(viewer: Viewer, span: Span) -> "QuerySet[HourRow]":
    return HourRow.objects.filter(seen(viewer, span.domain), hour__gte=counted_since(span.since))


def _hour_from(moment: datetime) -> datetime:
    """The first that begins then or later."""
    last_hour = datetime.max.replace(tzinfo=UTC) - 2 * HOUR
    return start_of_hour(min(moment.astimezone(UTC), last_hour) + HOUR - timedelta(microseconds=1))


def _steps(first: datetime, until: datetime, width: timedelta) -> Iterator[datetime]:
    while first < until:
        yield first
        first += width


def _choices(by: By, ids: list[UUID]) -> list[Choice]:
    named = _names_of(by, ids)
    return sorted((Choice(one, named.get(one)) for one in ids), key=lambda choice: (choice.name or "", choice.id))


def _names_of(by: By, values: list[Any]) -> dict[Any, str]:
    if by not in NAMED_BY:
        return {value: value for value in values}
    return names(*NAMED_BY[by], values)


def _with_hosts(rows: Iterable[Any]) -> list[Row]:
    found = list(rows)
    hosts = names(Domain, "host", (row["domain_id"] for row in found))
    return [
        {"domain": hosts.get(domain_id := row.pop("domain_id"), domain_id and str(domain_id))} | row for row in found
    ]
