"""`nexus import-credentials` and `nexus export-credentials`: the original's files."""

from pathlib import Path

import click

from nexus.commands.setup import setup

FAILED = 1


@click.command("import-credentials")
@click.argument("source", metavar="DIR")
@click.option("--owner", default="imported", show_default=True, help="The person who answers for what is imported.")
@click.option(
    "--replace", is_flag=True, help="Take a file's credential and Slack settings instead of what was imported."
)
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would be done.")
def import_credentials(source: str, owner: str, replace: bool, dry_run: bool) -> None:
    """Read the original's credential files (HOST.credentials.json) from DIR.

    Each becomes a domain with a credential, its Slack settings and its client key. To run it again changes nothing. A
    broken file is named, and the rest go on; it ends with 1 then.
    """
    setup()
    from telemetry.credentials import originals

    failed = count = 0
    try:
        for report in originals.import_all(originals.folder(source), owner=owner, replace=replace, is_dry=dry_run):
            count += 1
            failed += bool(report.problem)
            click.echo(str(report), err=bool(report.problem))
    except OSError as error:
        raise click.ClickException(f"{source} cannot be read: {error.strerror}.") from None
    verb = "would be read" if dry_run else "were read"
    click.echo(f"{count - failed} of {count} files {verb}.")
    if failed:
        raise SystemExit(FAILED)


@click.command("export-credentials")
@click.argument("target", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--with-secrets", is_flag=True, help="Yes, write the keys and tokens readable to everybody who reads DIR."
)
def export_credentials(target: Path, with_secrets: bool) -> None:
    """Write the original's credential files (HOST.credentials.json) to DIR, which must be new or empty.

    They hold the keys and tokens themselves. A token that renews itself is good in one place only: whichever renews it
    first locks the other one out.
    """
    if not with_secrets:
        raise click.UsageError("These files hold keys and tokens as they are: add --with-secrets if you want that.")
    setup()
    from telemetry.credentials import originals

    count = 0
    try:
        for report in originals.export_all(target):
            count += 1
            click.echo(str(report))
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error.strerror or error}.") from None
    click.echo(f"{count} files were written.")
