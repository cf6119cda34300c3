"""`nexus stats`: tokens and money by domain, as a table."""

import time
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import click

from nexus.commands.moments import MOMENT
from nexus.commands.setup import setup

HEADS = {
    "domain": "Domain",
    "count": "Requests",
    "inferences": "Inference",
    "query_evaluations": "Query eval.",
    "tools": "Tool calls",
    "input": "Input",
    "cache_read": "Cache read",
    "cache_write": "Cache write",
    "output": "Output",
    "cost": "Cost USD",
    "without_price": "Unpriced",
    "last": "Last (UTC)",
}
NOT_ADDED = ("domain", "last")


@click.command("stats")
@click.option("--domain", "host", help="Host name of the only domain to show (default: all).")
@click.option("--since", type=MOMENT, help="From this hour on: 24h, 7d, or ISO 8601 in UTC (default: 24h).")
@click.option("--watch", is_flag=True, help="Draw it again and again, until Ctrl-C.")
@click.option(
    "--every",
    "seconds",
    type=click.FloatRange(0.1, 86_400),
    default=10,
    show_default=True,
    help="Seconds between two of them.",
)
def stats(host: str | None, since: datetime | None, watch: bool, seconds: float) -> None:
    """Show requests, tokens and cost by domain, and their totals.

    The figures are about ten seconds behind. The hour of --since counts in full.
    """
    setup()
    if not watch:
        click.echo(_report(host, since))
        return
    age = None if since is None else datetime.now(UTC) - since
    with suppress(KeyboardInterrupt):
        while True:
            # A span that ends now moves along.
            _draw(_report(host, None if age is None else datetime.now(UTC) - age), seconds)
            time.sleep(seconds)
    click.echo()


def _draw(report: str, seconds: float) -> None:
    """On a terminal in place of the one before; in a file or a pipe below it."""
    click.clear()  # does nothing where there is no terminal
    click.echo(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, every {seconds:g} s, Ctrl-C ends\n\n{report}\n")


def _report(host: str | None, since: datetime | None) -> str:
    from accounts.access import EVERYTHING
    from accounts.hosts import normalise
    from accounts.models import Domain
    from dashboard.figures import counted_since, token_stats
    from dashboard.filters import Span

    if host is not None and not Domain.objects.filter(host=normalise(host)).exists():
        raise click.ClickException(f"There is no domain {host}.")
    rows = token_stats(EVERYTHING, Span(domain=host, since=since))
    start = f"{counted_since(since):%Y-%m-%d %H:%M} UTC"
    if not rows:
        return f"No requests {f'of {host} ' if host else ''}since {start}."
    rows.sort(key=lambda row: (-row["count"], row["domain"] or ""))
    return f"Since {start}\n\n{_table(rows)}"


def _table(rows: list[dict[str, Any]]) -> str:
    total = {name: sum(row[name] for row in rows) for name in HEADS if name not in NOT_ADDED}
    lines = [list(HEADS.values()), *map(_cells, rows), _cells(total | {"domain": "Total", "last": None})]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    drawn = [_line(line, widths) for line in lines]
    rule = "-" * len(drawn[0])
    return "\n".join([drawn[0], rule, *drawn[1:-1], rule, drawn[-1]])


def _line(cells: list[str], widths: list[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)])


def _cells(row: dict[str, Any]) -> list[str]:
    return [_cell(name, row[name]) for name in HEADS]


def _cell(name: str, value: Any) -> str:
    if name == "domain":
        return value or "(none)"
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%m-%d %H:%M:%S}"
    return f"{value:,.4f}" if isinstance(value, Decimal) else f"{value:,}"
