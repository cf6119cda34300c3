"""`nexus limits`: every limit that applies to a client key, and how full it is."""

import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import click

from nexus.commands.setup import setup

if TYPE_CHECKING:
    from accounts.facts import ClientKeyFacts, Snapshot
    from accounts.models import ClientKey
    from telemetry.limits.overview import Line, Overview

UNKNOWN_KEY = 2
NAMED_MAX = 10
BAR = 12


@click.command("limits")
@click.argument("name", metavar="KEY")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--watch", is_flag=True, help="Draw it again every two seconds, until Ctrl-C.")
def limits(name: str, as_json: bool, watch: bool) -> None:
    """Explain every limit, budget and rule that applies to a client key, and how full each is.

    KEY is its name, its id, its first characters (nxs_live_…) or its last four. Ends with 2 where no key, or more than
    one, is called so.
    """
    setup()
    if not watch:
        click.echo(_report(name, as_json=as_json))
        return
    with suppress(KeyboardInterrupt):
        while True:
            report = _report(name, as_json=as_json)
            click.clear()
            click.echo(f"{datetime.now(UTC):%H:%M:%S} UTC, every 2 s, Ctrl-C ends\n\n{report}")
            time.sleep(2)
    click.echo()


def _report(name: str, *, as_json: bool) -> str:
    from accounts.register import load
    from telemetry.limits import overview

    row = _found(name)
    snapshot = load()
    key = next(each for each in overview.keys_of(snapshot) if each.id == row.id)
    found = overview.of_key(snapshot, key)
    if as_json:
        return json.dumps(_as_dict(row, key, found), indent=2, default=str)
    return "\n".join([*_head(row, key, snapshot), "", *_table(found), "", f"Figures: {found.source}."])


def _found(name: str) -> "ClientKey":
    """Ends the command where it is not clear which is meant."""
    from django.db.models import Q

    from accounts.models import ClientKey
    from accounts.secret import CLIENT_KEY_START, PREFIX_LENGTH
    from telemetry.lookup import as_uuid

    keys = ClientKey.objects.select_related("domain")
    tail = name.removeprefix(f"{CLIENT_KEY_START}…").removeprefix("…")
    meant = Q(name=name) | Q(id=as_uuid(name)) | Q(prefix=name[:PREFIX_LENGTH]) | Q(last4=tail)
    rows: list[ClientKey] = list(keys.filter(meant)[: NAMED_MAX + 1])
    if len(rows) == 1:
        return rows[0]
    if rows:
        _end(f"Several client keys are called {name}; say the id:", rows)
    near = list(keys.filter(Q(name__icontains=name) | Q(domain__host__icontains=name))[:NAMED_MAX])
    _end(f"There is no client key {name}." + (" Near to it:" if near else ""), near)


def _end(sentence: str, rows: "list[ClientKey]") -> NoReturn:
    lines = [f"  {row.id}  {row.name} of {row.domain.host} ({row.state})" for row in rows[:NAMED_MAX]]
    click.echo("\n".join([sentence, *lines]), err=True)
    raise SystemExit(UNKNOWN_KEY)


def _head(row: "ClientKey", key: "ClientKeyFacts", snapshot: "Snapshot") -> list[str]:
    rules = [f"Client key {row.name} ({row.masked}) of {row.domain.host}: {row.state}"]
    for whose, patterns in (("The key", key.allowed_models), ("Its domain", key.domain.allowed_models)):
        if patterns:
            rules.append(f"{whose} may use only: {', '.join(patterns)}")
    rules.append(f"Models without a price: {key.unpriced.label}")
    waits = (
        f"a request waits up to {key.max_wait_seconds} s" if key.max_wait_seconds else "a request is refused at once"
    )
    return [*rules, f"Where a limit is reached: {waits}"]


def _table(found: "Overview") -> list[str]:
    if not found.lines:
        return ["Nothing is limited."]
    cells = [("Limit", "Of", "Used", "Limit", "", "Full", "Free again", "Set by"), *map(_cells, found.lines)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    right = (2, 3, 5)
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _cells(line: "Line") -> tuple[str, ...]:
    full = "" if line.percent is None else f"{line.percent}%"
    filled = min(BAR, round(BAR * (line.percent or 0) / 100))
    bar = "#" * filled + "." * (BAR - filled)
    return (line.what, line.meter.label, line.used_text, line.limit_text, bar, full, line.frees, line.origin)


def _as_dict(row: "ClientKey", key: "ClientKeyFacts", found: "Overview") -> dict[str, Any]:
    return {
        "key": {"id": row.id, "name": row.name, "domain": row.domain.host, "state": row.state},
        "allowed_models": {"key": key.allowed_models, "domain": key.domain.allowed_models},
        "unpriced_models": key.unpriced.value,
        "max_wait_seconds": key.max_wait_seconds,
        "limits": [line.as_dict() for line in found.lines],
        "figures": found.source,
        "is_live": found.is_live,
    }
