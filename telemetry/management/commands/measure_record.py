"""Measures how fast the record answers and grows, as Markdown. `bench.record_scale` runs it on a record of its own."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from telemetry.models import ExchangeRow
from telemetry.scale.looking import Look, visitors
from telemetry.scale.pages import details, figures, lists, quietest_domains
from telemetry.scale.plans import TABLES
from telemetry.scale.sizes import TableSize, stored_per_second, table_sizes


class Command(BaseCommand):
    help = (
        "Looks at every list, figure and export as a signed-in user, many times, and prints times, plans and sizes as "
        "Markdown. For a benchmark or a copy: it reads a lot, makes two users for as long as it runs, and with "
        "--store-batches it writes made-up exchanges. PostgreSQL only."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--runs", type=int, default=50, help="of each page (default: %(default)s)")
        parser.add_argument("--only", default="", help="pages with this in their name")
        parser.add_argument("--store-batches", type=int, default=0, help="write so many batches of 500, twice")

    def handle(self, *args: Any, **options: Any) -> None:
        if connection.vendor != "postgresql" or not ExchangeRow.objects.exists():
            raise CommandError("There is nothing to measure: that takes PostgreSQL, and exchanges (see fill_record).")
        with connection.cursor() as cursor:
            cursor.execute(f"VACUUM (ANALYZE) {', '.join(sorted(TABLES))}")
        self._measure_pages(options["runs"], options["only"])
        self._tell_sizes(table_sizes())
        if options["store_batches"]:
            self._measure_store(options["store_batches"])

    def _measure_pages(self, runs: int, only: str) -> None:
        self.stdout.write("| page | runs | p50 ms | p95 ms | in SQL ms | rows read | 8 kB blocks | sequential scan |")
        self.stdout.write("|---|---|---|---|---|---|---|---|")
        with visitors(quietest_domains(2)) as people:
            for page in (*lists(), *details(), *figures()):
                if only in page.name:
                    self.stdout.write(_line(people.look(page, runs)))
                    self.stdout.flush()

    def _tell_sizes(self, sizes: list[TableSize]) -> None:
        self.stdout.write("\n| table or index | rows | MB | bytes a row |\n|---|---|---|---|")
        for size in sizes:
            rows = max(1, size.rows)
            self.stdout.write(f"| {size.table}, all | {size.rows:,} | {_mb(size.total)} | {size.total // rows:,} |")
            self.stdout.write(f"| {size.table}, rows | | {_mb(size.heap)} | {size.heap // rows:,} |")
            for name, taken in size.indexes.items():
                self.stdout.write(f"| {name} | | {_mb(taken)} | {taken // rows:,} |")

    def _measure_store(self, batches: int) -> None:
        self.stdout.write("\n| stored in batches of 500, one connection | exchanges a second |\n|---|---|")
        for name, with_bodies in (("figures only", False), ("with bodies", True)):
            self.stdout.write(f"| {name} | {stored_per_second(batches, with_bodies=with_bodies):,.0f} |")


def _line(look: Look) -> str:
    scans = ", ".join(sorted(look.sequential_scans()))
    times = f"{len(look.milliseconds)} | {look.p50:,.1f} | {look.p95:,.1f} | {look.database_ms():,.1f}"
    return f"| {look.page.name} | {times} | {look.rows_read():,} | {look.blocks_read():,} | {scans} |"


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f}"
