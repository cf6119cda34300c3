"""Sums over the record and over the hours, in SQL, exact on every database."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import BigIntegerField, F, Q, Sum, Value
from django.db.models.functions import Cast, Round

from accounts.ids import first_id_at
from telemetry.models import BatchUsageRow, ExchangeRow, HourKind, Outcome, Pricing
from telemetry.models.hours import AMOUNTS, COUNTS, FIRST_BYTE, LATENCY
from telemetry.money.histogram import limits_ms
from telemetry.money.marks import Hour, id_of
from telemetry.record.usage import UsageSource

HOUR = timedelta(hours=1)
COST_PLACES = 10
SUMS = (*COUNTS, *AMOUNTS)
COLUMNS = (
    *("id", "hour", "domain_id", "client_key_id", "credential_id", "model", "kind"),
    *(*SUMS, "cost", "assumed_cost", "last_started_at"),
)
"""Of `HourRow` and `DayRow`."""
REPLACE = '("id") DO UPDATE SET ' + ", ".join(f'"{name}" = EXCLUDED."{name}"' for name in COLUMNS[1:])
ASSUMED = "CASE WHEN cost IS NULL OR cost = 0 THEN assumed_cost END"
"""What is assumed counts as long as the cost is not known."""
_COSTS = ("cost", ASSUMED)
Row = tuple[Any, ...]


def cost_sum(name: str = "cost", **options: Any) -> Sum:
    """In units of 1e-10 USD, as whole numbers: SQLite holds decimals as floats, whose sum would drift."""
    return Sum(Cast(Round(F(name) * Value(10**COST_PLACES)), BigIntegerField()), default=0, **options)


def as_usd(units: int) -> Decimal:
    return Decimal(units).scaleb(-COST_PLACES)


def rows_of(hour: Hour) -> list[Row]:
    """What the record says of an hour now, with one query for its exchanges and one for its batches."""
    return [_row(hour, group) for group in (*_groups(hour, _EXCHANGES), *_groups(hour, _BATCHES))]


def _groups(hour: Hour, sql: str) -> list[Row]:
    span = [first_id_at(hour.start), first_id_at(hour.start + HOUR)]
    of_domain = "domain_id IS NULL" if hour.domain_id is None else "domain_id = %s"
    values = span if hour.domain_id is None else [*span, hour.domain_id]
    native = connection.features.has_native_uuid_field
    with connection.cursor() as cursor:
        cursor.execute(sql.format(of_domain=of_domain), values if native else [value.hex for value in values])
        found: list[Row] = cursor.fetchall()
    return found


def _row(hour: Hour, group: Row) -> Row:
    key_id, credential_id, kind, model, *sums, cost, assumed_cost, last_started_at = group
    dimensions = (_uuid(key_id), _uuid(credential_id), model, kind)
    row_id = id_of(hour, *dimensions[:2], kind, model)
    costs = as_usd(int(cost)), as_usd(int(assumed_cost))
    return (row_id, *hour, *dimensions, *map(int, sums), *costs, _moment(last_started_at) or hour.start)


def _uuid(value: Any) -> UUID | None:
    return UUID(value) if isinstance(value, str) else value


def _moment(value: Any) -> datetime | None:
    return datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else value


def of_domain(domain_id: UUID | None) -> Q:
    return Q(domain_id=domain_id) if domain_id else Q(domain_id__isnull=True)


# --- In SQL that both databases understand. The ORM would take longer to write it than they to answer it. -----------


def _statuses() -> dict[str, str]:
    return {
        "status_2xx": "status < 300",
        "status_3xx": "status >= 300 AND status < 400",
        "status_4xx": "status >= 400 AND status < 500 AND status <> 429",
        "status_429": "status = 429",
        "status_5xx": "status >= 500",
        "status_none": "status IS NULL",
    }


def _buckets(columns: tuple[str, ...], of: str) -> dict[str, str]:
    """Only of what was sent: what is refused at once says nothing of how long answers take."""
    found = {}
    for bucket, column in enumerate(columns):
        shorter, longer = limits_ms(bucket)
        bounds = [] if shorter is None else [f"{of} > {shorter}"]
        bounds += [] if longer is None else [f"{of} <= {longer}"]
        found[column] = " AND ".join(["attempts > 0", *bounds])
    return found


def _counted() -> dict[str, str]:
    return {
        "streams": "is_stream",
        **{outcome: f"outcome = '{outcome}'" for outcome in Outcome.values},
        **_statuses(),
        "unpriced": f"pricing = '{Pricing.UNPRICED.value}'",
        "estimated": f"usage_source = '{UsageSource.ESTIMATED.value}'",
        **_buckets(LATENCY, "duration_ms"),
        **_buckets(FIRST_BYTE, "first_byte_ms"),
    }


def _select(table: str, id_name: str, kind: str, model: str, sums: dict[str, str], last: str) -> str:
    chosen = ", ".join(
        [
            *("client_key_id", "credential_id", kind, model, *(sums.get(name, "0") for name in SUMS)),
            *(f"COALESCE(SUM(CAST(ROUND({cost} * {10**COST_PLACES}) AS bigint)), 0)" for cost in _COSTS),
            last,
        ]
    )
    span = f"{id_name} >= %s AND {id_name} < %s AND {{of_domain}}"
    return f"SELECT {chosen} FROM {table} WHERE {span} GROUP BY 1, 2, 3, 4"  # noqa: S608 (names of our own)


_EXCHANGES = _select(
    ExchangeRow._meta.db_table,
    "id",
    "kind",
    "COALESCE(NULLIF(answered_model, ''), model)",
    {
        "requests": "COUNT(*)",
        **{name: f"COUNT(*) FILTER (WHERE {condition})" for name, condition in _counted().items()},
        **{name: f"SUM({name})" for name in AMOUNTS},
    },
    "MAX(started_at)",
)
_BATCHES = _select(
    BatchUsageRow._meta.db_table,
    "booked_id",
    f"'{HourKind.BATCH.value}'",
    "model",
    {
        "unpriced": f"COUNT(*) FILTER (WHERE pricing = '{Pricing.UNPRICED.value}')",
        **{name: f"SUM({name})" for name in AMOUNTS if name.endswith("_tokens") or name == "web_search_requests"},
    },
    "NULL",
)
