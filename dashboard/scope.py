"""What a viewer may see, as conditions for queries; and the names of what rows refer to."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models import Model, Q, QuerySet

from accounts import hosts
from accounts.access import Viewer
from accounts.models import Credential, Domain
from telemetry.lookup import as_uuid


def seen(viewer: Viewer, host: str | None) -> Q:
    """A domain of somebody else's is like one that does not exist."""
    if host is None:
        return Q() if viewer.domain_ids is None else Q(domain_id__in=viewer.domain_ids)
    return Q(domain_id__in=_ids(_register(Domain, viewer).filter(host=hosts.normalise(host))))


def domain_ids_of(viewer: Viewer, host: str | None) -> frozenset[UUID] | None:
    """Those that are seen; of a host, its own. None: everything."""
    return viewer.domain_ids if host is None else frozenset(_ids(_register(Domain, viewer).filter(host=host)))


def called(model: type[Model], viewer: Viewer, name: str) -> list[UUID]:
    """By id, or by the exact name. An id that is not on the register any more is still one on record: for those who
    see all it counts as it is."""
    row_id = as_uuid(name)
    if row_id and viewer.domain_ids is None:
        return [row_id]
    rows = _register(model, viewer)
    return _ids(rows.filter(id=row_id) if row_id else rows.filter(name=name))


def name_of(model: type[Model], viewer: Viewer, row_id: UUID) -> str | None:
    """None where there is none, or it is somebody else's."""
    name: str | None = _register(model, viewer).filter(id=row_id).values_list("name", flat=True).first()
    return name


def names(model: type[Model], field: str, ids: Iterable[UUID | None]) -> dict[UUID | None, str]:
    wanted = {row_id for row_id in ids if row_id}
    return dict(model._default_manager.filter(id__in=wanted).order_by().values_list("id", field)) if wanted else {}


def _register(model: type[Model], viewer: Viewer) -> "QuerySet[Any]":
    rows: QuerySet[Any] = model._default_manager.all()
    if viewer.domain_ids is None:
        return rows
    found = Q(**{"id__in" if model is Domain else "domain_id__in": viewer.domain_ids})
    if model is Credential:  # their domains use what others share with them
        shared = Credential.shared_with.through.objects.filter(domain_id__in=viewer.domain_ids)
        found |= Q(id__in=shared.values("credential_id"))
    return rows.filter(found)


def _ids(rows: "QuerySet[Any]") -> list[UUID]:
    return list(rows.order_by().values_list("id", flat=True))
