"""What the record is asked, named after what the answer serves. Nothing here reads further than a viewer may see."""

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import BooleanField, Count, Q, QuerySet, Sum
from django.db.models.expressions import RawSQL
from django.utils import timezone

from accounts.access import Viewer
from accounts.ids import first_id_at
from accounts.models import ClientKey, Credential, Domain
from dashboard.filters import DEFAULT_SPAN, Filters, Span
from dashboard.scope import called, names, seen
from telemetry.lookup import as_uuid, exchanges_called
from telemetry.models import BodyRow, ExchangeRow, PieceRow, PriceRow

Row = dict[str, Any]
_DATED = re.compile(r"-\d{8}$")
HEAVY = ("usage", "error_message")
"""Up to 100 kB a row: only in the view of one request."""
PREVIEWS = ("request_preview", "response_preview")
COLUMNS = tuple(str(field.attname) for field in ExchangeRow._meta.concrete_fields)
# The expression of the index `exchange_previews` (telemetry's migration 0003), or it would not serve.
WORDS_IN_PREVIEWS = (
    "to_tsvector('simple', request_preview || ' ' || response_preview) @@ websearch_to_tsquery('simple', %s)"
)


@dataclass(frozen=True, slots=True)
class Storage:
    domain: str | None
    bodies: int
    body_bytes: int
    pieces: int
    piece_bytes: int


def requests_for_list(viewer: Viewer, filters: Filters) -> "QuerySet[ExchangeRow]":
    """Newest first. Page through it with `page`."""
    return ExchangeRow.objects.filter(seen(viewer, filters.domain), *_conditions(viewer, filters)).order_by("-id")


def page(
    rows: "QuerySet[ExchangeRow]", viewer: Viewer, limit: int, before: UUID | None
) -> tuple[list[Row], UUID | None]:
    """The rows before that id, with the names of what they refer to; and the id to go on before, None at the end."""
    if before is not None:
        rows = rows.filter(id__lt=before)
    found: list[Row] = list(rows.values(*columns_of_list(viewer))[: limit + 1])
    name_references(shown := found[:limit])
    return shown, shown[-1]["id"] if len(found) > limit else None


def columns_of_list(viewer: Viewer) -> tuple[str, ...]:
    hidden = HEAVY if viewer.may_see_bodies else HEAVY + PREVIEWS
    return tuple(name for name in COLUMNS if name not in hidden)


def request_for_view(viewer: Viewer, name: str) -> ExchangeRow | None:
    """By its id, or the newest of this id of the API's; with its bodies where the viewer may see them."""
    rows = exchanges_called(name).filter(seen(viewer, None))
    return (rows.select_related("body") if viewer.may_see_bodies else rows).first()


def prices_of(row: ExchangeRow) -> list[PriceRow]:
    """By which it was booked."""
    ids = [price_id for part in row.price_ids.split(",") if (price_id := as_uuid(part))]
    return list(PriceRow.objects.filter(id__in=ids)) if ids else []


def neighbours_of(row: ExchangeRow, viewer: Viewer) -> dict[str, UUID | None]:
    """The requests of its session before and after it."""
    if not row.session_id:
        return {"before": None, "after": None}
    ids = ExchangeRow.objects.filter(seen(viewer, None), session_id=row.session_id).values_list("id", flat=True)
    return {
        "before": ids.filter(id__lt=row.id).order_by("-id").first(),
        "after": ids.filter(id__gt=row.id).order_by("id").first(),
    }


def newest_request(viewer: Viewer) -> UUID | None:
    newest: UUID | None = (
        ExchangeRow.objects.filter(seen(viewer, None)).order_by("-id").values_list("id", flat=True).first()
    )
    return newest


def name_references(rows: list[Row]) -> None:
    """Adds to each row the names of its domain, key and credential: one query for each of the three."""
    for reference, model, field in (
        ("domain", Domain, "host"),
        ("client_key", ClientKey, "name"),
        ("credential", Credential, "name"),
    ):
        found = names(model, field, (row[f"{reference}_id"] for row in rows))
        for row in rows:
            row[reference] = found.get(row[f"{reference}_id"])


def bytes_stored(viewer: Viewer, span: Span) -> list[Storage]:
    """What the bodies since that moment take, and the pieces that they use, some of which are older."""
    since = span.since or timezone.now() - DEFAULT_SPAN
    of_viewer = seen(viewer, span.domain)
    bodies = _sums(BodyRow.objects.filter(of_viewer, exchange_id__gte=first_id_at(since)))
    pieces = _sums(PieceRow.objects.filter(of_viewer, last_used_on__gte=since.date()))
    hosts = names(Domain, "host", bodies.keys() | pieces.keys())
    totals = [
        Storage(hosts.get(domain_id), *bodies.get(domain_id, (0, 0)), *pieces.get(domain_id, (0, 0)))
        for domain_id in bodies.keys() | pieces.keys()
    ]
    return sorted(totals, key=lambda total: total.domain or "")


def _sums(rows: "QuerySet[Any]") -> dict[UUID, tuple[int, int]]:
    """Number and bytes by domain."""
    sums = rows.values("domain_id").annotate(number=Count("*"), size=Sum("stored_bytes")).order_by()
    return {row["domain_id"]: (row["number"], row["size"]) for row in sums}


def _conditions(viewer: Viewer, filters: Filters) -> list[Any]:
    exact = {"outcome": filters.outcome, "kind": filters.kind, "session_id": filters.session}
    found: list[Any] = [Q(**{name: value}) for name, value in exact.items() if value is not None]
    if filters.model is not None:
        found.append(Q(model__in=_asked_as(filters.model)) if _DATED.search(filters.model) else Q(model=filters.model))
    if filters.since:
        found.append(Q(id__gte=first_id_at(filters.since)))
    if filters.until:
        found.append(Q(id__lt=first_id_at(filters.until)))
    if filters.key is not None:
        found.append(Q(client_key_id__in=called(ClientKey, viewer, filters.key)))
    if filters.credential is not None:
        found.append(Q(credential_id__in=called(Credential, viewer, filters.credential)))
    if filters.status is not None:
        found.append(_with_status(filters.status))
    if filters.text is not None:
        found.append(_saying(filters.text))
    return found


def _asked_as(model: str) -> list[str]:
    """A model that answered under a dated name was mostly asked for without the date."""
    return [model, _DATED.sub("", model)]


def _with_status(status: str) -> Q:
    if not status.endswith("xx"):
        return Q(status=int(status))
    hundred = int(status[0]) * 100
    return Q(status__gte=hundred, status__lt=hundred + 100)


def _saying(text: str) -> Any:
    if connection.vendor == "postgresql":
        return RawSQL(WORDS_IN_PREVIEWS, (text,), output_field=BooleanField())  # noqa: S611 (the words are a parameter)
    words = text.split()
    said = Q() if words else Q(pk__in=[])
    for word in words:
        said &= Q(request_preview__icontains=word) | Q(response_preview__icontains=word)
    return said
