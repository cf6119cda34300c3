"""`nexus move-to-postgres`: from a laptop's file to a server's database."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from django.core.exceptions import ImproperlyConfigured

from nexus.commands.setup import setup

if TYPE_CHECKING:
    from nexus.moving import Table


@click.command("move-to-postgres")
@click.option(
    "--from",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The SQLite file (default: nexus.db in NEXUS_DATA).",
)
@click.option("--dry-run", is_flag=True, help="Move nothing; say what would be moved, and whether it can be.")
def move_to_postgres(path: Path | None, dry_run: bool) -> None:
    """Copy everything from SQLite to the empty PostgreSQL that DATABASE_URL names.

    Stop Nexus first. All is moved in one transaction, and every row is read back and compared: where anything is wrong,
    nothing is moved, and it ends with 1. The file stays as it is.
    """
    settings = setup()
    from nexus import database, moving
    from telemetry.record import folder

    if not settings.DATABASE_URL.startswith("postgres"):
        raise ImproperlyConfigured(
            "Set DATABASE_URL to the PostgreSQL that is to take everything: postgres://USER:PASSWORD@HOST/NAME"
        )
    path = path or settings.NEXUS_DATA / "nexus.db"
    try:
        if not dry_run:
            _refuse_served(path.parent)
        with moving.source(path) as origin:
            database.wait_until_reachable(0)
            moving.check_empty()
            if dry_run:
                _say(moving.counts(origin), path)
                return
            database.migrate(verbosity=0)
            rows = moving.move(origin, _tell)
    except moving.CannotMove as error:
        raise click.ClickException(f"{error} Nothing was moved.") from None
    click.echo(f"{rows:,} rows were moved and compared. {path} is as it was: keep it until you trust the new place.")
    if left := len(list(folder.folders(path.parent / "spool"))):
        click.echo(
            f"{left} spools in {path.parent / 'spool'} hold what was not stored yet: the next Nexus that is started "
            f"with NEXUS_DATA={path.parent} and this DATABASE_URL takes it in."
        )


def _refuse_served(data: Path) -> None:
    from nexus.moving import CannotMove
    from telemetry.limits import statefile
    from telemetry.record import folder

    if statefile.is_served(data) or folder.is_served(data / "spool"):
        raise CannotMove("Nexus serves from this folder now: stop it first.")


def _say(held: dict[str, int], path: Path) -> None:
    for name, count in held.items():
        if count:
            click.echo(f"{count:>12,}  {name}")
    click.echo(f"{sum(held.values()):,} rows of {path} would be moved. The database of DATABASE_URL is empty.")


def _tell(table: "Table", of: int, rows: int) -> None:
    click.echo(f"{table.name}: {rows:,} of {of:,}", err=True)
