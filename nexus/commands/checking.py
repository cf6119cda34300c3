"""`nexus check-credentials`: asks the API with each credential whether it takes it."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from nexus.commands.setup import setup

if TYPE_CHECKING:
    from accounts.models import Credential
    from telemetry.credentials.checking import Check
    from telemetry.credentials.rooms import Room
    from telemetry.credentials.status import Status

    Found = tuple[Credential | None, Check, Status | None, list[Room]]

NOT_OK, UNKNOWN_NAME = 1, 2
AT_ONCE = 8
ENVIRONMENT = "CLAUDE_API_KEY"


@click.command("check-credentials")
@click.argument("names", nargs=-1, metavar="[NAME|ID]...")
@click.option("--domain", help="Only those that this domain uses: its host name.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def check_credentials(names: tuple[str, ...], domain: str | None, as_json: bool) -> None:
    """Ask the API with each credential: one cheap call, a list of models.

    Without a name all credentials that are switched on are asked, and CLAUDE_API_KEY. What is found out counts: one
    that is refused is marked invalid, one that is taken again is used again. Ends with 1 where one is not ok, with 2
    where a name is not known.
    """
    settings = setup()
    wanted = _wanted(names, domain)
    default_key = "" if names or domain else settings.UPSTREAM.default_api_key
    if not wanted and not default_key:
        click.echo("There are no credentials. An operator adds one in the admin under Credentials.")
        return
    found = []
    for each in _checked(wanted, default_key):
        found.append(each)
        if not as_json:
            click.echo(_line(each))
    if as_json:
        click.echo(json.dumps([_as_dict(each) for each in found], indent=2, default=_plain))
    raise SystemExit(0 if all(map(_is_ok, found)) else NOT_OK)


def _wanted(names: tuple[str, ...], domain: str | None) -> "list[Credential]":
    """Ends the command where a name is not known."""
    from django.db.models import Q

    from accounts import hosts
    from accounts.models import Credential
    from telemetry.credentials.status import with_rows
    from telemetry.lookup import as_uuid

    rows = with_rows(Credential.objects.all()).order_by("domain__host", "is_standby", "priority", "name")
    if domain is not None:
        host = hosts.normalise(domain)
        rows = rows.filter(Q(domain__host=host) | Q(shared_with__host=host)).distinct()
    if not names:
        return list(rows.filter(is_active=True))
    found: list[Credential] = []
    for name in names:
        called = list(rows.filter(Q(name=name) | Q(id=as_uuid(name))))
        if not called:
            click.echo(f"There is no credential {name}{f' of {domain}' if domain else ''}.", err=True)
            raise SystemExit(UNKNOWN_NAME)
        found += [row for row in called if row not in found]
    return found


def _checked(rows: "list[Credential]", default_key: str) -> "Iterator[Found]":
    """Some at once, in their order."""
    from proxy.vault import OAUTH_TOKEN_START
    from telemetry.credentials.checking import ask, check_by_id

    with ThreadPoolExecutor(AT_ONCE) as threads:
        checks = threads.map(check_by_id, [row.id for row in rows])
        for row, check in zip(rows, checks, strict=True):
            if check is not None:  # else it was deleted meanwhile
                yield _found(row, check)
        if default_key:
            yield _found(None, ask(default_key, is_bearer=default_key.startswith(OAUTH_TOKEN_START)))


def _found(row: "Credential | None", check: "Check") -> "Found":
    from accounts.models import Credential
    from telemetry.credentials.reading import Standing
    from telemetry.credentials.rooms import of_answer, rooms
    from telemetry.credentials.status import known_standings, statuses, with_rows

    standings, _ = known_standings()
    standing = standings.get(str(row.id) if row else "environment", Standing())
    left = of_answer(check.limits, time.time()) or rooms(standing, time.time())
    status = statuses(with_rows(Credential.objects.filter(id=row.id))).get(row.id) if row else None
    return row, check, status, left


def _is_ok(found: "Found") -> bool:
    _, check, status, _ = found
    return check.is_ok and (status is None or status.is_ok)


def _line(found: "Found") -> str:
    row, check, status, left = found
    name = f"{row.name} of {row.domain.host}" if row else ENVIRONMENT
    facts = [f"{name}: {_word(found)}", str(check.status or "no answer")]
    if check.latency_ms is not None:
        facts.append(f"{check.latency_ms} ms")
    if check.organization_id:
        facts.append(f"organization {check.organization_id}")
    if check.models:
        facts.append(f"{len(check.models)} models")
    if left:
        facts.append(f"{left[0].percent_left} % left of {left[0].family} {left[0].window}".replace("  ", " "))
    reasons = [reason for reason in (check.sentence, status.reason if status else "") if reason]
    said = [reason for reason in reasons if not check.problem or reason != check.problem]
    return "\n".join([", ".join(facts), *(f"  {reason}" for reason in said)])


def _word(found: "Found") -> str:
    """The status; where the API could not be asked, that comes first."""
    row, check, status, _ = found
    if row is not None and not row.is_active:
        return "switched off" if check.is_ok else f"switched off, {check.verdict}"
    if status is None:
        return "ok" if check.is_ok else check.verdict.value
    return status.state.value if check.is_ok or not status.is_ok else f"{status.state.value}, but not checked"


def _as_dict(found: "Found") -> dict[str, Any]:
    row, check, status, left = found
    said = {name: value for name, value in asdict(check).items() if name != "limits"}
    return {
        "id": row.id if row else None,
        "name": row.name if row else ENVIRONMENT,
        "domain": row.domain.host if row else None,
        "owner": row.owner if row else None,
        "kind": row.kind if row else None,
        "is_active": row.is_active if row else True,
        "is_ok": _is_ok(found),
        **(status.as_dict() if status else {}),
        "check": said,
        "limits": [room.as_dict() for room in left],
    }


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
