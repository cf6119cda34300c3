"""`nexus rotate-keys` and `nexus rotate-client-key`: new keys in the place of old ones, with nobody locked out."""

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from nexus.commands.setup import setup

if TYPE_CHECKING:
    from accounts.models import ClientKey

STILL_NEEDED = 1
SPOOL = "spool"
"""Beside the key file. The settings may not be asked where: they are read with the new key in front."""
_GRACE = re.compile(r"(\d{1,5})(m|h|d)")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@click.command("rotate-keys")
@click.option("--check", is_flag=True, help="Change nothing; say which key is needed by how many secrets.")
@click.option("--new-key", is_flag=True, help="Only for the key file of DEBUG=true: put a new key in front first.")
def rotate_keys(check: bool, new_key: bool) -> None:
    """Write every stored secret with the first key of NEXUS_ENCRYPTION_KEYS.

    Put a new key in front (`nexus generate-secret NEXUS_ENCRYPTION_KEYS`), restart all processes, run this, then drop
    the keys that it says nothing needs. It may be stopped and run again at any time, and Nexus may serve meanwhile.
    Ends with 1 as long as a secret needs another key than the first.
    """
    if new_key and not check:
        _add_key()
    setup()
    from accounts import rotation

    if not check:
        total = rotation.survey().total
        done = rotation.rotate(
            lambda done: click.echo(f"{done} of up to {total}", err=True) if done % 500 == 0 else None
        )
        click.echo(f"{done} secrets were written anew.")
    found = rotation.survey()
    for line in found.lines():
        click.echo(line)
    if new_key and found.is_done and not check:
        _drop_keys()
    if not found.is_done:
        raise SystemExit(STILL_NEEDED)


def _add_key() -> None:
    from django.core.exceptions import ImproperlyConfigured

    from nexus import keyfile
    from telemetry.limits import statefile
    from telemetry.record import folder

    try:
        path = keyfile.used_file()
        if statefile.is_served(path.parent) or folder.is_served(path.parent / SPOOL):
            raise click.ClickException(
                "Nexus serves with these keys now, and reads them when it starts: stop it first."
            )
        keyfile.put_in_front()
    except ImproperlyConfigured as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"A new key is in front in {path}.")


def _drop_keys() -> None:
    from nexus import keyfile

    keyfile.keep_first()
    click.echo("The old keys are dropped from the key file.")


@click.command("rotate-client-key")
@click.argument("name", metavar="KEY")
@click.option("--domain", "host", help="Host name of its domain, where several keys have that name.")
@click.option("--grace", default="24h", show_default=True, help="How long the old secret stays good: 30m, 24h, 7d; 0m.")
def rotate_client_key(name: str, host: str | None, grace: str) -> None:
    """Give a client key a new secret and print it, alone, on standard output. It cannot be shown again.

    KEY is its name or its id. The old secret stays good for the time of grace; whether it is still used is shown in the
    admin.
    """
    match = _GRACE.fullmatch(grace)
    if match is None:
        raise click.BadParameter("use a number and m, h or d: 30m, 24h, 7d.", param_hint="--grace")
    setup()
    key = _found(name, host)
    if key.state == "revoked":
        raise click.ClickException(f"{key} is revoked: issue a new one.")
    secret = key.rotate(timedelta(**{_UNITS[match[2]]: int(match[1])}))
    until = f"good until {key.previous_until:%Y-%m-%d %H:%M} UTC" if key.previous_until else "not good any more"
    click.echo(f"The old secret of {key.name} is {until}.", err=True)
    click.echo(secret)


def _found(name: str, host: str | None) -> "ClientKey":
    from uuid import UUID

    from django.db.models import QuerySet

    from accounts.models import ClientKey

    keys: QuerySet[ClientKey] = ClientKey.objects.select_related("domain")
    if host:
        keys = keys.filter(domain__host=host)
    try:
        found = list(keys.filter(id=UUID(name)))
    except ValueError:
        found = list(keys.filter(name=name)[:2])
    if len(found) == 1:
        return found[0]
    if found:
        raise click.ClickException(f"Several client keys are called {name}: name its --domain, or its id.")
    raise click.ClickException(f"No client key is called {name}.")
