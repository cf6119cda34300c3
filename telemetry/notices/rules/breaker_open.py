"""The circuit of a credential is open: with it the API does not answer, or breaks off."""

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from accounts.models import Domain
from telemetry.credentials import reading
from telemetry.credentials.circuit import CircuitState
from telemetry.credentials.reading import Standing
from telemetry.credentials.status import moment
from telemetry.lookup import as_uuid
from telemetry.models import Limits, Severity
from telemetry.notices.finding import Finding
from telemetry.notices.rules import credentials
from telemetry.notices.rules.credentials import Named
from telemetry.notices.rules.rule import WatchedRule

CALLERS = "caller:"


def find(now: datetime, limits: Limits) -> Iterable[Finding]:
    is_open = {key: each for key, each in reading.standings().items() if _is_open(each, limits)}
    named = _named(is_open) if is_open else {}
    for key, credential in named.items():
        opening = is_open[key].opening
        yield Finding(
            rule=RULE.name,
            object=credential.object,
            label=f"The circuit of credential {credential.label} is open",
            domain_id=credential.domain_id,
            severity=limits.severity,
            sentence=f"The Claude API gives the credential {credential.label} no good answers: it is left alone for a "
            "while, then tried again.",
            advice="It closes by itself when the API answers again. In the admin under Credentials it can be reset.",
            facts={"since": f"{moment(opening.opened_at):%Y-%m-%d %H:%M} UTC", "last": opening.reason},
        )


def _is_open(found: Standing, limits: Limits) -> bool:
    """One that nobody has tried for long, nobody misses."""
    now = time.time()
    is_in_use = now < found.opening.until + limits.window.total_seconds()
    return found.circuit(now) is not CircuitState.CLOSED and is_in_use


def _named(standings: Mapping[str, Standing]) -> dict[str, Named]:
    """By key; without those that are switched off or gone."""
    ids = [None if key == credentials.ENVIRONMENT else as_uuid(key) for key in standings]
    wanted = [found for key, found in zip(standings, ids, strict=True) if found or key == credentials.ENVIRONMENT]
    return credentials.named(wanted) | dict(_callers(standings))


def _callers(keys: Iterable[str]) -> Iterator[tuple[str, Named]]:
    """Keys that callers bring themselves share a circuit in each domain."""
    ids = {as_uuid(key.removeprefix(CALLERS)) for key in keys if key.startswith(CALLERS)}
    for domain in Domain.objects.filter(id__in=[each for each in ids if each]):
        yield f"{CALLERS}{domain.id}", Named(f"{CALLERS}{domain.id}", f"of callers of {domain.host}", domain.id)


RULE = WatchedRule(
    "breaker_open",
    "The circuit of a credential is open",
    Limits(window=timedelta(minutes=10), severity=Severity.WARNING),
    find,
    "Window: how long it counts after it could be tried again, where nobody does.",
)
