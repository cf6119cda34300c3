"""`nexus incidents`: what is wrong now, for people and for scripts."""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from nexus.commands.setup import setup

if TYPE_CHECKING:
    from telemetry.models import Incident

COLUMNS = ("rule", "object", "label", "severity", "state", "sentence", "advice", "opened_at", "facts")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print them as a JSON array.")
def incidents(as_json: bool) -> None:
    """List what is wrong and not resolved, the worst first.

    The exit code is 1 if anything of it is critical, also if somebody has acknowledged it, else 0.
    """
    setup()
    from telemetry.models import Incident, Severity

    found = list(Incident.objects.unresolved().select_related("domain"))
    if as_json:
        click.echo(json.dumps([_facts(incident) for incident in found], indent=2, default=str))
    else:
        click.echo("\n".join(map(_line, found)) or "Nothing is wrong.")
    sys.exit(int(any(incident.severity == Severity.CRITICAL for incident in found)))


def _facts(incident: "Incident") -> dict[str, Any]:
    domain = incident.domain.host if incident.domain else None
    return {"id": incident.id, "domain": domain, **{name: getattr(incident, name) for name in COLUMNS}}


def _line(incident: "Incident") -> str:
    since = f"since {incident.opened_at:%Y-%m-%d %H:%M} UTC"
    return f"{incident.short_id}  {incident.severity:8}  {incident.state:12}  {since}  {incident.sentence}"
