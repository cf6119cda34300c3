"""What PostgreSQL does to answer: the statements of a piece of code, and the plan of each."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection

from telemetry.models import BodyRow, ExchangeRow, PieceRow

TABLES = frozenset(model._meta.db_table for model in (ExchangeRow, BodyRow, PieceRow))
Node = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Statement:
    sql: str
    values: Any

    def plan(self) -> "Plan":
        """Runs it once more."""
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {self.sql}", self.values)
            ((found,),) = cursor.fetchall()
        return Plan(found[0]["Plan"], found[0]["Execution Time"])


@dataclass(frozen=True, slots=True)
class Plan:
    root: Node
    milliseconds: float

    def sequential_scans(self) -> set[str]:
        """Of which of the record's tables every row is read."""
        return {node["Relation Name"] for node in self._scans() if node["Node Type"] == "Seq Scan"}

    def rows_read(self) -> int:
        """Of the record's tables, with those that a filter threw away: an index scan may read all rows too."""
        return sum(_rows_of(node) for node in self._scans())

    def blocks_read(self) -> int:
        """Of 8 kB, from memory or from disk."""
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])

    def _scans(self) -> Iterator[Node]:
        return (node for node in _nodes(self.root) if node.get("Relation Name") in TABLES)


@contextmanager
def statements() -> Iterator[list[Statement]]:
    """The reading statements on the record that run within."""
    seen: list[Statement] = []

    def note(execute: Any, sql: str, values: Any, many: bool, context: Any) -> Any:
        if sql.startswith("SELECT") and any(f'"{table}"' in sql for table in TABLES):
            seen.append(Statement(sql, values))
        return execute(sql, values, many, context)

    with connection.execute_wrapper(note):
        yield seen


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _rows_of(node: Node) -> int:
    once = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return int(once * node["Actual Loops"])
