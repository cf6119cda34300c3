"""The record in sums, an hour of each domain at a time, and the marks that say which hours have to be summed anew."""

from decimal import Decimal

from django.db import models

from telemetry.models.record import Kind, Outcome, reference
from telemetry.money import histogram


class HourKind(models.TextChoices):
    INFERENCE = Kind.INFERENCE.value
    QUERY_EVALUATION = Kind.QUERY_EVALUATION.value
    QUOTA = Kind.QUOTA.value
    COUNT_TOKENS = Kind.COUNT_TOKENS.value
    OTHER = Kind.OTHER.value
    BATCH = "batch"
    """What message batches used, in the hour in which their results were read. It has no requests of its own."""


STATUSES = ("status_2xx", "status_3xx", "status_4xx", "status_429", "status_5xx", "status_none")
"""As the client saw it; 429 counts in none of the others."""
LATENCY, FIRST_BYTE = histogram.columns("latency"), histogram.columns("first_byte")
COUNTS = ("requests", "streams", *Outcome.values, *STATUSES, "unpriced", "estimated", *LATENCY, *FIRST_BYTE)
"""How many exchanges. `unpriced`: something of them has no price. `estimated`: their usage is. `latency_…` and
`first_byte_…`: of those that were sent, by milliseconds (`telemetry.money.histogram`)."""
AMOUNTS = (
    "attempts",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "web_search_requests",
    "web_fetch_requests",
    "code_execution_requests",
    "tool_calls",
    "request_bytes",
    "response_bytes",
    "overhead_us",
)
"""Sums of what the exchange's columns of the same names say."""
DIMENSIONS = ("client_key_id", "credential_id", "model", "kind")


class _SumRow(models.Model):
    """`COUNTS` and `AMOUNTS` are columns too."""

    id = models.UUIDField(primary_key=True)
    """Made of the dimensions."""
    hour = models.DateTimeField()
    model = models.CharField(max_length=200)
    """That answered, else that was asked for."""
    kind = models.CharField(max_length=20, choices=HourKind)

    cost = models.DecimalField(max_digits=20, decimal_places=10, default=Decimal(0))
    """In USD, of what has a price."""
    assumed_cost = models.DecimalField(max_digits=20, decimal_places=10, default=Decimal(0))
    """In USD, of what has none, as budgets count it."""
    last_started_at = models.DateTimeField()

    class Meta:
        abstract = True


for _name in COUNTS:
    _SumRow.add_to_class(_name, models.PositiveIntegerField(default=0))
for _name in AMOUNTS:
    _SumRow.add_to_class(_name, models.PositiveBigIntegerField(default=0))


class HourRow(_SumRow):
    """All exchanges of one hour, domain, client key, credential, model and kind in sums."""

    domain = reference("accounts.Domain", related_name="hours")
    client_key = reference("accounts.ClientKey", related_name="hours")
    credential = reference("accounts.Credential", related_name="hours")

    class Meta:
        db_table = "telemetry_hour"
        verbose_name = "hour"
        ordering = ["-hour"]
        indexes = [
            models.Index(fields=["hour"], name="hour_hour"),
            models.Index(fields=["domain", "hour"], name="hour_domain"),
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}:00 {self.model}"


class DayRow(_SumRow):
    """The hours of one day (UTC) in sums, for figures of weeks and months; `hour` is the day's first."""

    domain = reference("accounts.Domain", related_name="+")
    client_key = reference("accounts.ClientKey", related_name="+")
    credential = reference("accounts.Credential", related_name="+")

    class Meta:
        db_table = "telemetry_day"
        verbose_name = "day"
        ordering = ["-hour"]
        indexes = [
            models.Index(fields=["hour"], name="day_hour"),
            models.Index(fields=["domain", "hour"], name="day_domain"),
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d} {self.model}"


class HourState(models.Model):
    """How the sums of one hour of one domain stand."""

    id = models.UUIDField(primary_key=True)
    """Made of hour and domain."""
    hour = models.DateTimeField()
    domain = reference("accounts.Domain", related_name="+")
    stamp = models.UUIDField()
    """Of the last change. Who sums has to find the stamp that was there before: older sums never replace newer ones."""
    due_at = models.DateTimeField()
    """Not to be summed again before: an hour with many exchanges must not take more than a tenth of the time."""
    is_final = models.BooleanField(default=False)
    """Exchanges of this hour have been deleted: its sums stand for them, and cannot be made again."""

    class Meta:
        db_table = "telemetry_hour_state"

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}:00 of {self.domain_id or 'no domain'}"


class HourMark(models.Model):
    """Something changed in this hour of this domain (`telemetry.money.marks`)."""

    id = models.UUIDField(primary_key=True)
    """Made of hour, domain and writer: those who write at the same time do not wait for each other."""
    state_id = models.UUIDField(db_index=True)
    """Of the hour's state, which may not be there yet."""
    hour = models.DateTimeField()
    domain = reference("accounts.Domain", related_name="+")
    stamp = models.UUIDField()
    """Of the last change: a mark is deleted only if it still has the stamp that was read before its hour was summed."""

    class Meta:
        db_table = "telemetry_hour_mark"

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}:00 of {self.domain_id or 'no domain'}"
