"""`nexus import-prices` and `nexus reprice`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nexus.commands.setup import setup

if TYPE_CHECKING:
    from telemetry.money.importing import Plan
    from telemetry.money.repricing import Report, Tally


class Moment(click.ParamType[datetime]):
    """A time in UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time. Write 2026-11-23 or 2026-11-23T14:30:00.", param, ctx)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


MOMENT = Moment()
YES = click.option("--yes", is_flag=True, help="Do not ask.")
DRY_RUN = click.option("--dry-run", is_flag=True, help="Change nothing; show what would change.")


@click.command("import-prices")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--valid-from", type=MOMENT, help="From when on they count, in UTC (default: now).")
@click.option("--accept-suspicious", is_flag=True, help="Take over also values that are doubted.")
@DRY_RUN
@YES
def import_prices(file: Path, valid_from: datetime | None, accept_suspicious: bool, dry_run: bool, yes: bool) -> None:
    """Take over prices from LiteLLM's public file, model_prices_and_context_window.json.

    Shows what is new and what changes, and asks before it adds rows. Rows that are there are never edited. Values that
    contradict Anthropic's own price list are shown and left out.
    """
    setup()
    from telemetry.money import importing, pricefile

    valid_from = valid_from or datetime.now(UTC)
    try:
        data = file.read_bytes()
        plan = importing.plan(pricefile.read(data), valid_from, accept_doubts=accept_suspicious)
    except (OSError, pricefile.BadPriceFile) as error:
        raise click.ClickException(f"{file.name}: {error}") from None
    _show_plan(plan, accept_suspicious)
    if not plan.proposals or dry_run:
        click.echo("Nothing was changed.")
        return
    _warn_of_other_times(plan, valid_from)
    if not yes:
        click.confirm(f"Add {len(plan.proposals)} prices, valid from {valid_from:%Y-%m-%d %H:%M:%S} UTC?", abort=True)
    source = f"{file.name[:150]}, SHA-256 {sha256(data).hexdigest()[:12]}"
    try:
        added = importing.apply(plan.proposals, valid_from, source)
    except importing.CannotImport as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Added {len(added)} prices. Every node uses them within two seconds.")


def _show_plan(plan: "Plan", accepts: bool) -> None:
    rows = [["model", "figure", "in force", "new"]]
    for each in plan.new:
        shown = [(name, after) for name, _, after in each.changes if after is not None]
        rows += [[each.model, name, "—", _number(after)] for name, after in shown]
    for each in plan.changed:
        rows += [[each.model, name, _number(before), _number(after)] for name, before, after in each.changes]
    _table(rows)
    click.echo(f"{len(plan.new)} new, {len(plan.changed)} changed, {plan.unchanged} unchanged.")
    if plan.doubts:
        click.echo(f"\nSuspicious, {'taken over all the same' if accepts else 'left out'}:")
        _table(
            [["model", "figure", "value", "why"]]
            + [[doubt.model, doubt.field, _number(doubt.value), doubt.reason] for doubt in plan.doubts]
        )
    for name, reason in plan.passed_over:
        click.echo(f"Passed over {name[:100]!r}: {reason}.")


def _warn_of_other_times(plan: "Plan", valid_from: datetime) -> None:
    from telemetry.money import importing

    for row in importing.later(plan.proposals, valid_from):
        click.echo(f"Note: {row.pattern} has a price that begins later, {row.valid_from:%Y-%m-%d %H:%M}; it stays.")
    if valid_from < datetime.now(UTC).replace(microsecond=0):
        since = f"{valid_from:%Y-%m-%dT%H:%M:%S}"
        click.echo(f"Note: what was booked since {since} keeps its cost until you run `nexus reprice --since {since}`.")


@click.command()
@click.option("--since", type=MOMENT, help="Only what began then or later, in UTC.")
@click.option("--until", type=MOMENT, help="Only what began before, in UTC.")
@click.option("--model", "models", multiple=True, help="Only what was charged for this model; * stands for anything.")
@click.option("--domain", "host", help="Only of the domain of this host name.")
@DRY_RUN
@YES
def reprice(
    since: datetime | None,
    until: datetime | None,
    models: tuple[str, ...],
    host: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Work out again what was booked, with the prices as they are now.

    Each cost that changes leaves an adjustment with what was booked before. It may run while Nexus serves, several
    times at once, and be stopped at any time: the next run goes on with what is left.
    """
    setup()
    from telemetry.money import repricing

    scope = repricing.Scope(since, until, models, _domain_id(host))
    if dry_run:
        _show_report(repricing.preview(scope), "would change")
        return
    if not yes:
        _show_report(repricing.preview(scope), "would change")
        click.confirm("Change them?", abort=True)
    _show_report(repricing.reprice(scope, on_progress=_show_progress), "changed")


def _domain_id(host: str | None) -> Any:
    from accounts.models import Domain

    if host is None:
        return None
    domain = Domain.objects.filter(host=host).first()
    if domain is None:
        raise click.UsageError(f"There is no domain {host}.")
    return domain.id


def _show_progress(report: "Report") -> None:
    """About once in 50,000 rows."""
    if report.looked_at % 50_000 == 0:
        click.echo(
            f"{report.looked_at:,} exchanges looked at, {report.total.count:,} costs changed, "
            f"up to {report.reached_at:%Y-%m-%d %H:%M} UTC",
            err=True,
        )


def _show_report(report: "Report", verb: str) -> None:
    if report.by_model:
        rows = [["model", "costs", "before", "after", "unpriced before", "after"]]
        rows += [_line(name, tally) for name, tally in sorted(report.by_model.items())]
        _table([*rows, _line("all", report.total)])
    click.echo(f"{report.looked_at:,} exchanges looked at; {report.total.count:,} costs {verb}.")


def _line(name: str, tally: "Tally") -> list[str]:
    unpriced = (f"{tally.unpriced_before:,}", f"{tally.unpriced_after:,}")
    return [ascii(name)[1:-1], f"{tally.count:,}", f"${tally.before:,.6f}", f"${tally.after:,.6f}", *unpriced]


def _number(value: Any) -> str:
    return "—" if value is None else f"{value:f}".rstrip("0").rstrip(".") if "." in f"{value:f}" else f"{value:f}"


def _table(rows: Sequence[Sequence[str]]) -> None:
    """Its first row is the head; without others there is nothing to show."""
    if len(rows) < 2:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
