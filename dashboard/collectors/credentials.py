"""How credentials stand, and what the API leaves them of its limits. Those that are switched on, by name."""

import time
from collections import Counter
from collections.abc import Iterator

from django.conf import settings
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from accounts.models import Credential
from telemetry.credentials.reading import Standing
from telemetry.credentials.rooms import rooms
from telemetry.credentials.status import State, ends_at, known_standings, status_of, status_of_environment, with_rows

CREDENTIALS_MAX = 200
ENVIRONMENT = "environment"
OF = ("credential", "domain")
Names = tuple[str, str]


class CredentialCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        rows = list(with_rows(Credential.objects.filter(is_active=True)).order_by("created_at")[:CREDENTIALS_MAX])
        standings, is_known = known_standings()
        named = list(zip(_names(rows), rows, strict=True))
        now = timezone.now()
        states = {
            names: status_of(row, standings.get(str(row.id)), now, is_known=is_known).state for names, row in named
        }
        left = {names: standings[str(row.id)] for names, row in named if str(row.id) in standings}
        if settings.UPSTREAM.default_api_key:
            names = ("CLAUDE_API_KEY", "")
            states[names] = status_of_environment(standings.get(ENVIRONMENT)).state
            left[names] = standings.get(ENVIRONMENT, Standing())
        yield _statuses(states)
        yield from _moments(named)
        yield _headrooms(left)


def _statuses(states: dict[Names, State]) -> Metric:
    family = GaugeMetricFamily(
        "nexus_credential_status",
        "1 for the status that a credential has, 0 for the others",
        labels=(*OF, "status"),
    )
    for names, current in states.items():
        for state in State:
            family.add_metric((*names, state.value), float(state is current))
    return family


def _moments(named: list[tuple[Names, Credential]]) -> Iterator[Metric]:
    checked = GaugeMetricFamily(
        "nexus_credential_checked_timestamp_seconds", "When a credential was checked last", labels=OF
    )
    ends = GaugeMetricFamily(
        "nexus_credential_expires_timestamp_seconds", "When the key or token of a credential ends", labels=OF
    )
    for names, row in named:
        standing = getattr(row, "standing", None)
        if standing is not None and standing.checked_at is not None:
            checked.add_metric(names, standing.checked_at.timestamp())
        if (end := ends_at(row)) is not None:
            ends.add_metric(names, end.timestamp())
    yield checked
    yield ends


def _headrooms(left: dict[Names, Standing]) -> Metric:
    """Of all families of models the tightest counts: labels are few."""
    family = GaugeMetricFamily(
        "nexus_credential_headroom_ratio",
        "What the API leaves a credential of a limit, 0 is nothing: of the family of models that has least",
        labels=(*OF, "window"),
    )
    for names, standing in left.items():
        tightest: dict[str, float] = {}
        for room in rooms(standing, time.time()):
            tightest[room.window] = min(room.left, tightest.get(room.window, 1.0))
        for window, share in tightest.items():
            family.add_metric((*names, window), share)
    return family


def _names(rows: list[Credential]) -> list[Names]:
    """Two series of one name would spoil the whole scrape."""
    often = Counter((row.name, row.domain.host) for row in rows)
    return [
        (row.name if often[row.name, row.domain.host] == 1 else f"{row.name} {row.id.hex[-8:]}", row.domain.host)
        for row in rows
    ]
