"""Fills the record with exchanges that never happened: for a look at a full console, and for `bench.record_scale`."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from time import perf_counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.utils import timezone

from telemetry.fiction.cast import cast
from telemetry.fiction.load import load
from telemetry.fiction.traffic import Traffic
from telemetry.models import ExchangeRow
from telemetry.money import prices
from telemetry.money.rollups import roll_up
from telemetry.scale.plans import TABLES

TOLD_EVERY_SECONDS = 5


class Command(BaseCommand):
    help = (
        "Fills the record with plausible exchanges that never happened, of domains, client keys and credentials that "
        "are made for them. Refuses where the record has exchanges. Progress is told on standard error; the exit code "
        "is 0 when all are stored, else 1."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--exchanges", type=_from(1), default=100_000, help="how many (default: %(default)s)")
        parser.add_argument("--days", type=_from(1), default=30, help="spread up to now (default: %(default)s)")
        parser.add_argument("--domains", type=_from(1), default=5, help="of so many domains (default: %(default)s)")
        parser.add_argument(
            "--with-bodies", type=_share, default=0.05, help="share of sessions with bodies (default: %(default)s)"
        )
        parser.add_argument("--seed", type=int, default=1, help="another seed, another story (default: %(default)s)")
        parser.add_argument("--force", action="store_true", help="also where the record has exchanges")

    def handle(self, *args: Any, **options: Any) -> None:
        if ExchangeRow.objects.exists() and not options["force"]:
            raise CommandError("The record has exchanges. Add --force to put made-up ones between them.")
        count = options["exchanges"]
        end = timezone.now()
        traffic = Traffic(cast(options["domains"]), options["seed"], options["with_bodies"], prices.load())
        done, started, told = 0, perf_counter(), perf_counter()
        for number in load(traffic.exchanges(count, end - timedelta(days=options["days"]), end)):
            done += number
            if done == count or perf_counter() - told > TOLD_EVERY_SECONDS:
                told = perf_counter()
                self._tell(f"{done:,} of {count:,} exchanges, {done / (told - started):,.0f} a second")
        self._sum_up()
        with connection.cursor() as cursor:
            # Without it both plan by guesses, and PostgreSQL searches words in a long list that is not in order yet.
            tables = ", ".join(sorted(TABLES))
            cursor.execute(f"VACUUM (ANALYZE) {tables}" if connection.vendor == "postgresql" else "ANALYZE")

    def _sum_up(self) -> None:
        started, hours = perf_counter(), 0
        while summed := roll_up(seconds=TOLD_EVERY_SECONDS, at_once=True):
            hours += summed
            self._tell(f"{hours:,} hours summed, {hours / (perf_counter() - started):,.0f} a second")

    def _tell(self, line: str) -> None:
        self.stderr.write(line, style_func=str)  # progress is no error: not in red


def _from(minimum: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        if not text.isdecimal() or int(text) < minimum:
            raise ArgumentTypeError(f"use a whole number of at least {minimum}")
        return int(text)

    return whole_number


def _share(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (share := float(text)) <= 1:
            return share
    raise ArgumentTypeError("use a number from 0 to 1")
