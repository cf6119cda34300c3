"""Makes new dated prices of a price file: what is new, what changes, what is doubted. Rows that are there stay as they
are."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F

from telemetry.models import PriceRow
from telemetry.money.pricefile import CACHE_RULES, SMALLEST, Doubt, Entry, PriceFile, leaps

RATES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
FIGURES = (
    *RATES,
    "batch_factor",
    "fast_factor",
    "us_factor",
    "long_above_tokens",
    *(f"long_{name}" for name in RATES),
    "web_search_per_thousand",
)
BASE = {"input", "output"}
"""What the other figures of a new model follow from."""
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A row that would be added."""

    model: str
    figures: Figures
    before: Figures | None
    """Of the row in force; None where the model has none of its own."""

    @property
    def changes(self) -> list[tuple[str, Decimal | None, Decimal | None]]:
        """Field, before, after."""
        before = self.before or {}
        return [(name, before.get(name), after) for name, after in self.figures.items() if before.get(name) != after]


@dataclass(frozen=True, slots=True)
class Plan:
    new: tuple[Proposal, ...]
    changed: tuple[Proposal, ...]
    unchanged: int
    doubts: tuple[Doubt, ...]
    """Of values that differ from what is in force; also where they are accepted."""
    passed_over: tuple[tuple[str, str], ...]

    @property
    def proposals(self) -> tuple[Proposal, ...]:
        return (*self.new, *self.changed)


class CannotImport(Exception):
    """It says why, in a sentence."""


def plan(file: PriceFile, at: datetime, *, accept_doubts: bool = False) -> Plan:
    """Compares a file with what is in force at that moment."""
    in_force = _in_force(at)
    new, changed, doubts, passed_over = [], [], [], list(file.passed_over)
    for entry in file.entries:
        before = in_force.get(entry.model)
        doubted = [*entry.doubts, *_leaps(entry, before)]
        doubts += [doubt for doubt in doubted if before is None or before[doubt.field] != doubt.value]
        left_out = set() if accept_doubts else {doubt.field for doubt in doubted}
        figures = _figures(entry, before, left_out)
        if before is None and left_out & BASE:
            passed_over.append(
                (entry.model, f"it is new, and its price of {' and '.join(sorted(left_out & BASE))} is in doubt")
            )
        elif before is None:
            new.append(Proposal(entry.model, figures, None))
        elif figures != before:
            changed.append(Proposal(entry.model, figures, before))
    unchanged = len(file.entries) + len(file.passed_over) - len(new) - len(changed) - len(passed_over)
    return Plan(tuple(new), tuple(changed), unchanged, tuple(doubts), tuple(passed_over))


def apply(proposals: Iterable[Proposal], valid_from: datetime, source: str) -> list[PriceRow]:
    """Adds all of them or none. Raises CannotImport."""
    rows = [PriceRow(pattern=each.model, valid_from=valid_from, source=source, **each.figures) for each in proposals]
    with transaction.atomic():
        for row in rows:
            try:
                row.full_clean()
            except ValidationError as error:
                raise CannotImport(f"{row.pattern}: {' '.join(error.messages)} Nothing was added.") from None
        PriceRow.objects.bulk_create(rows)
    return rows


def later(proposals: Iterable[Proposal], valid_from: datetime) -> list[PriceRow]:
    """Rows of the same models that begin later, and so end what is added."""
    models = [each.model for each in proposals]
    return list(PriceRow.objects.filter(pattern__in=models, valid_from__gt=valid_from))


def _in_force(at: datetime) -> dict[str, Figures]:
    rows = PriceRow.objects.filter(valid_from__lte=at).order_by(F("valid_from").asc()).values("pattern", *FIGURES)
    return {row.pop("pattern"): row for row in rows}


def _figures(entry: Entry, before: Figures | None, doubted: set[str]) -> Figures:
    """What the file says; what it does not say, or says in doubt, stays as it is, else follows from the rules."""
    stated = {name: value for name, value in entry.values.items() if name not in doubted}
    figures = {**(before or _by_rule(entry)), **stated}
    return {name: figures[name] for name in FIGURES}


def _by_rule(entry: Entry) -> Figures:
    empty = {name: getattr(PriceRow(), name) for name in FIGURES}
    plain = {name: entry.values[name] for name in ("input", "output")}
    by_rule = {name: (plain["input"] * times).quantize(SMALLEST) for name, times in CACHE_RULES.items()}
    return empty | plain | by_rule


def _leaps(entry: Entry, before: Figures | None) -> list[Doubt]:
    reason = "it is ten times what is in force, or a tenth"
    known = {name: before[name] for name in RATES} if before else {}
    return [
        Doubt(entry.model, name, value, reason)
        for name, value in entry.values.items()
        if name in known and leaps(known[name], value)
    ]
