"""The `nexus` command. Settings are read when a command needs them, so that `--help` works without any."""

import secrets
import sys
from pathlib import Path
from typing import Any

import click
from django.core.exceptions import ImproperlyConfigured

from nexus.commands.checking import check_credentials
from nexus.commands.doctor import doctor
from nexus.commands.incidents import incidents
from nexus.commands.limits import limits
from nexus.commands.login import login
from nexus.commands.move import move_to_postgres
from nexus.commands.originals import export_credentials, import_credentials
from nexus.commands.prices import import_prices, reprice
from nexus.commands.rollups import verify_rollups
from nexus.commands.rotation import rotate_client_key, rotate_keys
from nexus.commands.setup import setup
from nexus.commands.stats import stats
from nexus.logs import a_line, take_last_words, wants_json

SERVICES = ("serve", "web", "worker", "beat")
"""What runs unattended: its last words are a log line too."""


WAIT = click.option(
    "--wait",
    type=click.FloatRange(0, 3600),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long a database is waited for that is not there, or not up to date, yet.",
)


class Sentences(click.Group):
    """A wrong set-up ends in a sentence and exit code 2, not in a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ImproperlyConfigured as error:
            if ctx.invoked_subcommand in SERVICES and wants_json():
                click.echo(a_line("critical", str(error)), err=True)
                ctx.exit(2)
            raise click.UsageError(str(error)) from None


@click.group(cls=Sentences, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nexus-gateway")
def main() -> None:
    """Nexus, a self-hosted gateway for the Claude API."""


@main.command()
@click.option("--host", help="Address to listen on (default: HOST, else 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (default: PORT, else 8000).")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Web processes.")
def serve(host: str | None, port: int | None, workers: int) -> None:
    """Serve everything: prepares the database, and without REDIS_URL runs the background work too."""
    settings = setup()
    take_last_words()
    from nexus.serve import serve as run

    run(host or settings.HOST, settings.PORT if port is None else port, workers)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--data", default="data-demo", show_default=True, help="Folder of the demo's own database.")
@click.option("--traffic/--no-traffic", default=True, show_default=True, help="Send a trickle of requests.")
def demo(host: str, port: int, data: str, traffic: bool) -> None:
    """Serve with a stand-in for the Claude API inside: no key and no internet needed."""
    from nexus.demo import demo as run

    run(host, port, data, traffic=traffic)


@main.command()
@click.option("--host", help="Address to listen on (default: HOST, else 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (default: PORT, else 8000).")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Web processes.")
@WAIT
def web(host: str | None, port: int | None, workers: int, wait: float) -> None:
    """Serve, and nothing else: one node of several (needs DATABASE_URL and REDIS_URL).

    Prepares nothing: `nexus migrate` brings the database up to date, and the background work is that of `nexus worker`
    and `nexus beat`.
    """
    settings = setup()
    take_last_words()
    from nexus.serve import serve_web

    serve_web(host or settings.HOST, settings.PORT if port is None else port, workers, wait)


@main.command()
@WAIT
def migrate(wait: float) -> None:
    """Bring the database up to date. It may run beside itself, and beside nodes that serve."""
    setup()
    from nexus import database

    database.migrate(wait)


@main.command()
def worker() -> None:
    """Run a Celery worker of its own (needs REDIS_URL)."""
    _celery("worker", "--loglevel=WARNING")


@main.command()
def beat() -> None:
    """Run Celery's beat, once in a cluster (needs REDIS_URL)."""
    _celery("beat", "--loglevel=WARNING", "--schedule=/dev/null", "--scheduler=celery.beat:Scheduler")


def _celery(*arguments: str) -> None:
    if not setup().REDIS_URL:
        raise ImproperlyConfigured("REDIS_URL is not set: then `nexus serve` runs the background work itself.")
    take_last_words()
    from nexus.celery import app
    from nexus.tasklog import take_announcements

    take_announcements()
    sys.exit(app.start(["--quiet", *arguments]))


@main.command("issue-key")
@click.option("--domain", "host", required=True, help="Host name of the domain that the key belongs to.")
@click.option("--name", required=True, help="Who or what will use it.")
@click.option("--create-domain", is_flag=True, help="Make the domain if there is none.")
def issue_key(host: str, name: str, create_domain: bool) -> None:
    """Issue a client key and print it, alone, on standard output. It cannot be shown again."""
    setup()
    from django.core.exceptions import ValidationError

    from accounts.models import ClientKey, Domain

    domain = Domain.objects.filter(host=host).first()
    if domain is None and not create_domain:
        raise click.ClickException(f"There is no domain {host}. Add --create-domain to make it.")
    try:
        if domain is None:
            domain = Domain(host=host)
            domain.full_clean()
            domain.save()
        ClientKey(domain=domain, name=name).clean_fields(exclude=("prefix", "last4", "digest"))
    except ValidationError as error:
        raise click.ClickException(" ".join(error.messages)) from None
    click.echo(ClientKey.issue(domain, name)[1])


@main.command()
@click.argument("name", metavar="ID")
@click.option("--url", help="Nexus to send it to (default: http://HOST:PORT).")
@click.option(
    "--body-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the body to this new file. Without it a body that is large or no text goes to ID.json.",
)
def replay(name: str, url: str | None, body_file: Path | None) -> None:
    """Print a curl line that sends a request of the record again. ID is a Nexus id, or the API's (req_…).

    The line takes a client key from the variable NEXUS_KEY. What it sends costs what the request did.
    """
    settings = setup()
    from nexus.serve import url_of
    from telemetry.replay import CannotReplay
    from telemetry.replay import replay as line_for

    try:
        found = line_for(name, url or url_of(settings.HOST, settings.PORT), body_file)
    except CannotReplay as error:
        raise click.ClickException(str(error)) from None
    for warning in found.warnings:
        click.echo(f"Warning: {warning}", err=True)
    click.echo(found.line)


@main.command()
@click.option("--dry-run", is_flag=True, help="Delete nothing; say what would be deleted.")
def clean(dry_run: bool) -> None:
    """Delete what the record has kept long enough. Nexus does so every hour by itself.

    How long is said by each domain in the admin, else by RETENTION_BODIES_DAYS and RETENTION_ROWS_DAYS. It may run
    while Nexus serves, and be stopped at any time.
    """
    setup()
    from telemetry.record import retention

    freed = retention.Freed()
    for expired in retention.expired():
        of_domain = retention.measure(expired) if dry_run else retention.clean(expired, max_batches=None)
        if of_domain:
            click.echo(f"{expired.name}: {of_domain}")
        freed += of_domain
    if not dry_run:
        retention.clean_ledger()
    click.echo(f"{'This would delete' if dry_run else 'Deleted'} {freed}.")


@main.command("generate-secret")
@click.argument("name", type=click.Choice(["NEXUS_SECRET_KEY", "NEXUS_ENCRYPTION_KEYS"]))
def generate_secret(name: str) -> None:
    """Print a new value for NEXUS_SECRET_KEY or NEXUS_ENCRYPTION_KEYS."""
    from nexus.keyfile import new_encryption_key

    click.echo(new_encryption_key() if name == "NEXUS_ENCRYPTION_KEYS" else secrets.token_urlsafe(48))


@main.command()
def variables() -> None:
    """Print every environment variable as a Markdown table, as in docs/configuration.md."""
    setup()
    from nexus.env import VARIABLES

    click.echo("| variable | default | meaning |\n|---|---|---|")
    for variable in sorted(VARIABLES.values(), key=lambda variable: variable.name):
        default = f"`{variable.default}`" if variable.default else ""
        mark = "*" if variable.is_secret else ""
        click.echo(f"| `{variable.name}`{mark} | {default} | {variable.help} |")


main.add_command(stats)
main.add_command(verify_rollups)
main.add_command(import_prices)
main.add_command(reprice)
main.add_command(check_credentials)
main.add_command(doctor)
main.add_command(incidents)
main.add_command(limits)
main.add_command(login)
main.add_command(move_to_postgres)
main.add_command(import_credentials)
main.add_command(export_credentials)
main.add_command(rotate_keys)
main.add_command(rotate_client_key)

if __name__ == "__main__":
    main()
