"""Message batches: who created one, and what its results told of its usage, booked once."""

import msgspec
from django.db import models

from telemetry.models.record import Pricing, reference
from telemetry.money.charges import Charge

_charges = msgspec.json.Decoder(list[Charge])


class BatchRow(models.Model):
    """One message batch of the API. Its id is the API's own, which is unique among all accounts: a batch is found by it
    whichever key reads its results."""

    id = models.CharField(primary_key=True, max_length=100)
    created_by = models.UUIDField(null=True)
    """The exchange that created it; None where that did not go through Nexus, or is not stored yet. Then all below is
    said of the exchange that read its results."""
    created_at = models.DateTimeField()
    """The prices of that moment count."""
    domain = reference("accounts.Domain", "batches")
    client_key = reference("accounts.ClientKey", "batches")
    credential = reference("accounts.Credential", "batches")
    credential_source = models.CharField(max_length=16)

    booked_id = models.UUIDField(null=True)
    """The exchange that read the results whole for the first time: the batch counts in its hour. None until then."""
    booked_at = models.DateTimeField(null=True)
    """When that exchange began."""
    succeeded = models.PositiveIntegerField(default=0)
    """Requests of the batch, here and below, by their result."""
    errored = models.PositiveIntegerField(default=0)
    canceled = models.PositiveIntegerField(default=0)
    expired = models.PositiveIntegerField(default=0)
    unreadable = models.PositiveIntegerField(default=0)
    """Lines that Nexus could not read when the results were last read whole: such a batch is not booked."""

    class Meta:
        db_table = "telemetry_batch"
        verbose_name = "message batch"
        verbose_name_plural = "message batches"
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["created_at"], name="batch_created")]

    def __str__(self) -> str:
        return self.id

    @property
    def is_booked(self) -> bool:
        return self.booked_id is not None

    @property
    def was_seen_created(self) -> bool:
        """Else it is booked to the key that read its results."""
        return self.created_by is not None


class BatchUsageRow(models.Model):
    """What the requests of a batch used of one model: one row for each, written when the batch is booked."""

    id = models.UUIDField(primary_key=True)
    batch = models.ForeignKey(
        BatchRow, on_delete=models.CASCADE, db_constraint=False, related_name="usage", db_index=False
    )
    booked_id = models.UUIDField()
    """As in its batch: a span of time is a span of these ids."""
    domain = reference("accounts.Domain", "batch_usage")
    client_key = reference("accounts.ClientKey", "batch_usage")
    credential = reference("accounts.Credential", "batch_usage")
    model = models.CharField(max_length=200)

    input_tokens = models.PositiveBigIntegerField()
    """Billed ones, here and below: the sums of `charges`."""
    output_tokens = models.PositiveBigIntegerField()
    cache_read_tokens = models.PositiveBigIntegerField()
    cache_write_5m_tokens = models.PositiveBigIntegerField()
    cache_write_1h_tokens = models.PositiveBigIntegerField()
    web_search_requests = models.PositiveBigIntegerField()
    charges = models.TextField()
    """JSON, one `telemetry.money.charges.Charge` for each set of terms: what it is priced by, now and again later."""

    pricing = models.CharField(max_length=10, choices=Pricing)
    cost = models.DecimalField(max_digits=20, decimal_places=10, null=True)
    """In USD; None where it is unpriced."""
    price_ids = models.TextField(default="")
    assumed_cost = models.DecimalField(max_digits=20, decimal_places=10, null=True)
    """In USD, of what has no price, as budgets count it."""

    class Meta:
        db_table = "telemetry_batch_usage"
        verbose_name = "usage of a batch"
        verbose_name_plural = "usage of batches"
        ordering = ["batch", "model"]
        constraints = [models.UniqueConstraint(fields=["batch", "model"], name="batch_usage_once")]
        indexes = [
            models.Index(fields=["booked_id"], name="batch_usage_booked"),
            models.Index(fields=["domain", "booked_id"], name="batch_usage_domain"),
        ]

    def __str__(self) -> str:
        return f"{self.batch_id} {self.model}"

    def charged(self) -> list[Charge]:
        return _charges.decode(self.charges)
