"""`nexus doctor`: which mode each part is in, what is reachable and how fast, what is unsafe and what to do."""

import json
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from typing import TYPE_CHECKING

import click

from nexus.commands.setup import setup

if TYPE_CHECKING:
    from nexus.doctor.finding import Finding

PATIENCE_SECONDS = 15
COLORS = {"ok": "green", "warning": "yellow", "problem": "red"}
SIGNS = {"ok": "ok", "warning": "look", "problem": "FAIL"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings too.")
def doctor(as_json: bool, strict: bool) -> None:
    """Look at this installation as it is configured here: modes, what is reachable and how fast, what is unsafe.

    Changes nothing, prints no secret. The exit code is 0 when all is well, 1 when something has to be mended (with
    --strict: looked at), 2 for a configuration that cannot work.
    """
    setup()
    found = _asked()
    click.echo(json.dumps([_as_dict(each) for each in found], indent=2) if as_json else _table(found))
    grades = {each.grade for each in found}
    if "problem" in grades or (strict and "warning" in grades):
        raise click.exceptions.Exit(1)


def _asked() -> "list[Finding]":
    """Side by side, each for a bounded time."""
    from nexus.doctor.looks import LOOKS

    pool = ThreadPoolExecutor(len(LOOKS))
    answers = {name: pool.submit(look) for name, look in LOOKS.items()}
    found = [finding for name, answer in answers.items() for finding in _answer(name, answer)]
    pool.shutdown(wait=False, cancel_futures=True)
    return found


def _answer(name: str, answer: "Future[list[Finding]]") -> "list[Finding]":
    from nexus.doctor.finding import Finding, told

    try:
        return answer.result(PATIENCE_SECONDS)
    except TookTooLong:
        found = Finding(name, "?")
        found.fail(f"No answer within {PATIENCE_SECONDS} s.")
    except Exception as error:
        found = Finding(name, "?")
        found.fail(f"It cannot be looked at ({told(error)}).")
    return [found]


def _as_dict(found: "Finding") -> dict[str, object]:
    return {
        "part": found.part,
        "status": found.grade.value,
        "mode": found.mode,
        "response_ms": found.response_ms,
        "advice": [{"status": advice.grade.value, "sentence": advice.sentence} for advice in found.advices],
    }


def _table(found: "list[Finding]") -> str:
    width = max(len(each.part) for each in found)
    lines: list[str] = []
    for each in found:
        sign = click.style(f"{SIGNS[each.grade]:>4}", fg=COLORS[each.grade])
        took = "" if each.response_ms is None else f"  ({each.response_ms:g} ms)"
        lines.append(f"{sign}  {each.part:<{width}}  {each.mode}{took}")
        lines += [f"      {'':<{width}}  → {advice.sentence}" for advice in each.advices]
    counts = [sum(each.grade == grade for each in found) for grade in ("problem", "warning")]
    lines.append(f"{counts[0]} to mend, {counts[1]} to look at.")
    return "\n".join(lines)
