"""`nexus verify-rollups`: whether the sums by the hour are those of the record."""

from datetime import UTC, datetime
from time import monotonic
from typing import Any
from uuid import UUID

import click

from nexus.commands.moments import MOMENT
from nexus.commands.setup import setup

TOLD_EVERY_SECONDS = 5


@click.command("verify-rollups")
@click.option("--since", type=MOMENT, help="From this hour on: 48h, 7d, or ISO 8601 in UTC (default: all).")
@click.option("--until", type=MOMENT, help="Before this time (default: now).")
@click.option("--domain", "host", help="Host name of the only domain to look at (default: all, and requests of none).")
@click.option("--repair", is_flag=True, help="Sum the hours that differ again.")
def verify_rollups(since: datetime | None, until: datetime | None, host: str | None, repair: bool) -> None:
    """Compare the sums by the hour with the record, to the token and to the tenth place of a dollar.

    Prints each difference. The exit code is 1 when something differs and was not repaired. It may run while Nexus
    serves; hours whose exchanges were deleted after their time cannot be compared.
    """
    setup()
    from telemetry.money import verification

    hours = verification.hours_between(since, until or datetime.now(UTC), _domain_ids(host))
    told, not_compared, wrong, repaired = monotonic(), 0, 0, 0
    for number, hour in enumerate(hours, 1):
        found = verification.check(hour)
        not_compared += found is None
        if found:
            wrong += 1
            for difference in found:
                click.echo(difference)
            repaired += repair and verification.repair(hour)
        if monotonic() - told > TOLD_EVERY_SECONDS:
            told = monotonic()
            click.echo(f"{number:,} of {len(hours):,} hours", err=True)
    click.echo(_summary(len(hours), not_compared, wrong, repaired))
    if wrong > repaired:
        raise click.exceptions.Exit(1)


def _summary(hours: int, not_compared: int, wrong: int, repaired: int) -> str:
    compared = f"{hours - not_compared:,} hours compared, {wrong:,} differ"
    skipped = f"; {not_compared:,} are final or change just now" if not_compared else ""
    return f"{compared}{f', {repaired:,} repaired' if repaired else ''}{skipped}."


def _domain_ids(host: str | None) -> "list[UUID | None] | None":
    if host is None:
        return None
    from accounts import hosts
    from accounts.models import Domain

    domain: Any = Domain.objects.filter(host=hosts.normalise(host)).first()
    if domain is None:
        raise click.ClickException(f"There is no domain {host}.")
    return [domain.id]
