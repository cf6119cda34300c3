"""How credentials stand at the API and who uses them, no further than a viewer may see.

Who sees some domains sees the credentials of those, and others' that are shared with them, but not whose those are."""

import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from accounts import hosts
from accounts.access import Viewer
from accounts.modelrules import model_patterns
from accounts.models import Credential, Domain
from dashboard.filters import OfCredential
from telemetry.credentials.reading import Standing
from telemetry.credentials.rooms import rooms
from telemetry.credentials.status import ends_at, known_standings, moment, status_of, with_rows
from telemetry.credentials.uses import Use, uses
from telemetry.lookup import as_uuid

CREDENTIALS_MAX = 200
"""Shown at once; for the others one asks by domain or name."""
Row = dict[str, Any]


def credentials(viewer: Viewer, asked: OfCredential) -> Row:
    seen = _domains(viewer)
    wanted = _wanted(seen, viewer, asked)
    shown = list(wanted[:CREDENTIALS_MAX])
    standings, is_known = known_standings()
    used = uses([row.id for row in shown], timezone.now())
    found = [_credential(row, standings, used.get(row.id, []), seen, is_known=is_known) for row in shown]
    return {"credentials": found, "left_out": max(0, wanted.count() - CREDENTIALS_MAX)}


def _domains(viewer: Viewer) -> dict[UUID, str]:
    """Hosts of those that may be seen."""
    rows = Domain.objects.all() if viewer.domain_ids is None else Domain.objects.filter(id__in=viewer.domain_ids)
    return dict(rows.order_by().values_list("id", "host"))


def _wanted(seen: Mapping[UUID, str], viewer: Viewer, asked: OfCredential) -> Any:
    """Not by a join, which would give one that is shared with two of them twice."""
    host = None if asked.domain is None else hosts.normalise(asked.domain)
    domains = [row_id for row_id, each in seen.items() if host in (None, each)]
    rows = with_rows(Credential.objects.all()).select_related("replaces").prefetch_related("shared_with")
    if viewer.domain_ids is not None or host is not None:
        shared = Credential.shared_with.through.objects.filter(domain_id__in=domains).values("credential_id")
        rows = rows.filter(Q(domain_id__in=domains) | Q(id__in=shared))
    if asked.credential is not None:
        rows = rows.filter(Q(id=as_uuid(asked.credential)) | Q(name=asked.credential))
    # Where among the domains a shared one stands would tell whose it is.
    whose = ("domain__host",) if viewer.domain_ids is None else ()
    return rows.order_by(*whose, "is_standby", "priority", "name", "id")


def _credential(
    row: Credential, standings: Mapping[str, Standing], used: list[Use], seen: Mapping[UUID, str], *, is_known: bool
) -> Row:
    now, found = time.time(), standings.get(str(row.id), Standing())
    hosts_seen, is_own = {*seen.values()}, row.domain_id in seen
    replaces = row.replaces if is_own else None
    return {
        "id": row.id,
        "name": row.name,
        "domain": seen.get(row.domain_id),
        "shared_with": sorted(domain.host for domain in row.shared_with.all() if domain.id in seen),
        "owner": row.owner if is_own else None,
        "kind": row.kind,
        "is_active": row.is_active,
        "priority": row.priority,
        "weight": row.weight,
        "is_standby": row.is_standby,
        "allowed_models": model_patterns(row.allowed_models),
        "replaces": replaces.name if replaces else None,
        "traffic_percent": row.traffic_percent if replaces else None,
        "expires_at": ends_at(row),
        **status_of(row, found, timezone.now(), is_known=is_known).as_dict(),
        "circuit": found.circuit(now).value,
        "cooling": [
            {"family": family or None, "since": moment(each.since), "until": moment(each.until)}
            for family, each in sorted(found.cooling_now(now).items())
        ],
        "limits": [room.as_dict() for room in rooms(found, now)],
        "check": _check(row, is_own=is_own),
        "used_by": [
            {"domain": use.domain, "requests": use.requests, "is_estimate": use.is_estimate}
            for use in used
            if use.domain in hosts_seen
        ],
    }


def _check(row: Credential, *, is_own: bool) -> Row | None:
    """The last one."""
    standing = getattr(row, "standing", None)
    if standing is None or standing.checked_at is None:
        return None
    return {
        "at": standing.checked_at,
        "status": standing.check_status,
        "message": standing.check_message,
        "latency_ms": standing.latency_ms,
        "organization_id": (standing.organization_id or None) if is_own else None,
        "models": standing.models_seen,
    }
