"""`nexus limits`: every limit that applies to a client key, and how full it is."""

import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import click

from nexus.commands.setup import setup

if TYPE_CHECKING:
    from accounts.models import ClientKey
    from telemetry.limits.lines import Line
    from telemetry.limits.overview import Overview

UNKNOWN_KEY = 2
NAMED_MAX = 10
WIDTH, GAP, LEAST = 100, 2, 10
NAMES = (1, 2)
"""Columns that hold what people call things."""


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
    from telemetry.limits import overview
    from telemetry.limits.rules import rules_of

    key = _found(name)
    found = overview.of_key(key)
    if as_json:
        return json.dumps(_as_dict(key, found), indent=2, default=_plain)
    head = f"Client key {key.name} ({key.masked}) of {key.domain.host}: {key.state}"
    return "\n".join([head, *rules_of(key), "", *_tables(found), *_defaults(found), found.reading.sentence])


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


def _tables(found: "Overview") -> list[str]:
    if not found.lines:
        return ["Nothing is limited.", ""]
    counting = [_counting(line) for line in found.counting]
    others = [_other(line) for line in found.others]
    heads = ("Limit", "Of", "Models", "Used", "Limit", "Full", "Free (UTC)", "Set by")
    tables = [*_table([heads, *counting], right=(3, 4, 5)), ""] if counting else []
    if others:
        tables += [
            "Not counted:",
            *_table([("Limit", "Of", "Models", "Limit", "Why", "Set by"), *others], right=(3,)),
            "",
        ]
    return tables


def _defaults(found: "Overview") -> list[str]:
    """Where they are set."""
    named = [line.origin.words for line in found.lines if line.origin.kind == "environment"]
    return [f"Defaults are set by {', '.join(named)}."] if named else []


def _table(cells: list[tuple[str, ...]], right: tuple[int, ...]) -> list[str]:
    """At most as wide as `WIDTH`: names are cut first, the longest of them most."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    texts = [column for column in range(len(widths)) if column not in right]
    for _ in range(max(0, sum(widths) + GAP * (len(widths) - 1) - WIDTH)):
        cut = [column for column in NAMES if widths[column] > LEAST] or texts
        widths[max(cut, key=lambda column: widths[column])] -= 1
    return [_row(row, widths, right) for row in cells]


def _row(cells: tuple[str, ...], widths: list[int], right: tuple[int, ...]) -> str:
    shown = [cell if len(cell) <= width else f"{cell[: width - 1]}…" for cell, width in zip(cells, widths, strict=True)]
    sides = [each.rjust if column in right else each.ljust for column, each in enumerate(shown)]
    return (" " * GAP).join(side(width) for side, width in zip(sides, widths, strict=True)).rstrip()


def _counting(line: "Line") -> tuple[str, ...]:
    full = "" if line.percent is None else f"{line.percent}%"
    frees = line.frees.partition("-")[2] if line.meter.account and line.frees_at else line.frees
    return (*_who(line), line.used_text, line.limit_text, full, frees, _set_by(line))


def _other(line: "Line") -> tuple[str, ...]:
    return (*_who(line), line.limit_text, line.why_not, _set_by(line))


def _who(line: "Line") -> tuple[str, str, str]:
    return line.what, _of(line), line.meter.model_pattern or "all"


def _of(line: "Line") -> str:
    """The key and its domain are named above."""
    if line.person:
        return f"{line.meter.scope} {line.person}"
    if line.meter.account is not None:
        return f"budget {line.meter.label}"
    names = {"key": "the key", "domain": "its domain", "all": "everything"}
    return names.get(line.meter.scope, line.meter.label)


def _set_by(line: "Line") -> str:
    return "default" if line.origin.kind == "environment" else "admin"


def _as_dict(key: "ClientKey", found: "Overview") -> dict[str, Any]:
    from accounts.modelrules import model_patterns
    from telemetry.limits.rules import rules_of

    return {
        "key": {"id": key.id, "name": key.name, "domain": key.domain.host, "state": key.state},
        "allowed_models": {
            "key": model_patterns(key.allowed_models),
            "domain": model_patterns(key.domain.allowed_models),
        },
        "rules": rules_of(key),
        "limits": [line.as_dict() for line in found.lines],
        "figures": found.reading.as_dict(),
    }


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
