"""The record: small rows and heavy bodies apart, what bodies share stored once, and the proof that all is there."""

from typing import Any

from django.db import models
from django.db.models.functions import Greatest
from django.utils import timezone

from telemetry.record import bodies, pieces
from telemetry.record import exchange as facts
from telemetry.record.bodies import PIECES, ZSTD
from telemetry.record.ledger import COUNTS, Ledger, Page
from telemetry.record.preview import PREVIEW_LENGTH


class Kind(models.TextChoices):
    INFERENCE = facts.Kind.INFERENCE.value
    QUERY_EVALUATION = facts.Kind.QUERY_EVALUATION.value
    QUOTA = facts.Kind.QUOTA.value
    COUNT_TOKENS = facts.Kind.COUNT_TOKENS.value
    OTHER = facts.Kind.OTHER.value


class Outcome(models.TextChoices):
    COMPLETED = facts.Outcome.COMPLETED.value
    API_ERROR = facts.Outcome.API_ERROR.value, "API error"
    REFUSED = facts.Outcome.REFUSED.value
    UPSTREAM_FAILED = facts.Outcome.UPSTREAM_FAILED.value
    BROKEN = facts.Outcome.BROKEN.value
    CANCELLED = facts.Outcome.CANCELLED.value
    FAILED = facts.Outcome.FAILED.value, "Failed in Nexus"
    INTERRUPTED = facts.Outcome.INTERRUPTED.value


class Pricing(models.TextChoices):
    FREE = facts.Pricing.FREE.value
    PRICED = facts.Pricing.PRICED.value
    UNPRICED = facts.Pricing.UNPRICED.value


def reference(to: str, related_name: str = "exchanges") -> Any:
    """To a row of the register. No constraint in the database: a batch of the record must never fail on one row.
    Django itself still refuses to delete what the record refers to."""
    return models.ForeignKey(
        to, on_delete=models.PROTECT, db_constraint=False, null=True, related_name=related_name, db_index=False
    )


class ExchangeRow(models.Model):
    """One request and its answer. Columns mean what `telemetry.record.exchange.Exchange` says."""

    id = models.UUIDField(primary_key=True)
    started_at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    first_byte_ms = models.PositiveIntegerField(null=True)
    overhead_us = models.PositiveIntegerField()

    domain = reference("accounts.Domain")
    client_key = reference("accounts.ClientKey")
    credential = reference("accounts.Credential")
    credential_source = models.CharField(max_length=16)

    method = models.CharField(max_length=16)
    path = models.CharField(max_length=500)
    query = models.CharField(max_length=500, default="")
    kind = models.CharField(max_length=20, choices=Kind)
    is_stream = models.BooleanField()
    model = models.CharField(max_length=200)
    answered_model = models.CharField(max_length=200)
    message_count = models.PositiveIntegerField()
    session_id = models.CharField(max_length=100)
    agent_id = models.CharField(max_length=100)
    parent_agent_id = models.CharField(max_length=100)
    user_id = models.CharField(max_length=200, default="")
    user_agent = models.CharField(max_length=300)
    client_address = models.CharField(max_length=64)
    request_bytes = models.PositiveBigIntegerField()
    correlation_id = models.CharField(max_length=100, default="")

    status = models.PositiveSmallIntegerField(null=True)
    outcome = models.CharField(max_length=20, choices=Outcome)
    error_type = models.CharField(max_length=64)
    error_message = models.CharField(max_length=500)
    refused_by = models.CharField(max_length=100, default="")
    waited_ms = models.PositiveIntegerField(default=0)
    attempts = models.PositiveSmallIntegerField()
    tries = models.CharField(max_length=500, default="")
    by_previous_secret = models.BooleanField(default=False)
    upstream_request_id = models.CharField(max_length=100)
    message_id = models.CharField(max_length=100)
    stop_reason = models.CharField(max_length=64)
    tool_calls = models.PositiveIntegerField()
    response_bytes = models.PositiveBigIntegerField()

    input_tokens = models.PositiveBigIntegerField()
    output_tokens = models.PositiveBigIntegerField()
    cache_read_tokens = models.PositiveBigIntegerField()
    cache_write_5m_tokens = models.PositiveBigIntegerField()
    cache_write_1h_tokens = models.PositiveBigIntegerField()
    web_search_requests = models.PositiveIntegerField()
    web_fetch_requests = models.PositiveIntegerField()
    code_execution_requests = models.PositiveIntegerField()
    usage_source = models.CharField(max_length=16)
    usage = models.TextField()
    is_declined = models.BooleanField(default=False)
    refusals = models.CharField(max_length=200, default="")
    batch_id = models.CharField(max_length=100, default="")

    pricing = models.CharField(max_length=10, choices=Pricing, default=Pricing.FREE)
    cost = models.DecimalField(max_digits=20, decimal_places=10, null=True)
    price_ids = models.TextField(default="")
    assumed_cost = models.DecimalField(max_digits=20, decimal_places=10, null=True)

    request_preview = models.CharField(max_length=PREVIEW_LENGTH, default="")
    response_preview = models.CharField(max_length=PREVIEW_LENGTH, default="")

    class Meta:
        db_table = "telemetry_exchange"
        verbose_name = "exchange"
        ordering = ["-id"]
        # Ids are UUIDv7: to order by id is to order by time, and a span of time is a span of ids (`accounts.ids`).
        # What nearly all rows have is in no index: the newest of those are among the newest of all. It was an eighth of
        # the size of the table with its indexes.
        # The search of previews has an index of its own on PostgreSQL (migration 0003).
        indexes = [
            models.Index(fields=["domain", "id"], name="exchange_domain"),
            models.Index(fields=["client_key", "id"], name="exchange_client_key"),
            models.Index(fields=["credential", "id"], name="exchange_credential"),
            models.Index(fields=["model", "id"], name="exchange_model"),
            models.Index(fields=["status", "id"], name="exchange_status", condition=~models.Q(status=200)),
            models.Index(fields=["outcome", "id"], name="exchange_outcome", condition=~models.Q(outcome="completed")),
            models.Index(fields=["kind", "id"], name="exchange_kind", condition=~models.Q(kind="inference")),
            models.Index(fields=["session_id", "id"], name="exchange_session", condition=~models.Q(session_id="")),
            models.Index(fields=["agent_id", "id"], name="exchange_agent", condition=~models.Q(agent_id="")),
            models.Index(
                fields=["parent_agent_id", "id"], name="exchange_parent_agent", condition=~models.Q(parent_agent_id="")
            ),
            models.Index(
                fields=["correlation_id"], name="exchange_correlation", condition=~models.Q(correlation_id="")
            ),
            models.Index(fields=["id"], name="exchange_unpriced", condition=models.Q(pricing="unpriced")),
            models.Index(
                fields=["upstream_request_id"], name="exchange_upstream_id", condition=~models.Q(upstream_request_id="")
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)

    def request_body(self) -> bytes | None:
        """The body as it was received, byte for byte unless it was redacted; None where it was not kept. Raises
        MissingPiece where a part of it is gone."""
        body = self._body()
        return None if body is None else body.whole_request()

    def response_body(self) -> bytes | None:
        """The body as the API sent it, a stream as its events (as the message's JSON where it was redacted); None where
        it was not kept."""
        body = self._body()
        return None if body is None else bodies.decompress(bytes(body.response), ZSTD)

    def _body(self) -> "BodyRow | None":
        return getattr(self, "body", None)  # Django raises an AttributeError of its own where there is no row


class BodyRow(models.Model):
    """The bodies and headers of one exchange, compressed with zstd. Of the request there is a layout: references to
    pieces, and the literal bytes between them (`telemetry.record.pieces`)."""

    exchange = models.OneToOneField(
        ExchangeRow, primary_key=True, on_delete=models.CASCADE, related_name="body", db_constraint=False
    )
    domain = models.ForeignKey(
        "accounts.Domain", on_delete=models.PROTECT, db_constraint=False, related_name="bodies", db_index=False
    )
    codec = models.CharField(max_length=8)
    """Of the request: `zstd` is the body itself, `pieces` its layout; both compressed."""
    request_headers = models.TextField()
    response_headers = models.TextField()
    request = models.BinaryField()
    response = models.BinaryField()
    request_is_whole = models.BooleanField()
    response_is_whole = models.BooleanField()
    is_redacted = models.BooleanField(default=False)
    stored_bytes = models.PositiveBigIntegerField(default=0)
    """Of both bodies as stored, without the pieces that the request shares with others."""

    class Meta:
        db_table = "telemetry_body"
        verbose_name = "body"
        verbose_name_plural = "bodies"
        indexes = [models.Index(fields=["domain", "exchange"], name="body_domain")]

    def __str__(self) -> str:
        return str(self.exchange_id)

    def whole_request(self) -> bytes:
        """Raises MissingPiece."""
        stored = bodies.decompress(bytes(self.request), ZSTD)
        if self.codec != PIECES:
            return stored
        rows = PieceRow.objects.filter(id__in=set(pieces.references(stored))).values_list("id", "data")
        return pieces.join(stored, {row_id: bodies.decompress(bytes(data), ZSTD) for row_id, data in rows})


class PieceRow(models.Model):
    """A part of request bodies that many share: a message, a system prompt, a list of tools. Stored once per domain;
    its id is the BLAKE2b hash of its bytes, keyed by the domain."""

    id = models.UUIDField(primary_key=True)
    domain = models.ForeignKey(
        "accounts.Domain", on_delete=models.PROTECT, db_constraint=False, related_name="pieces", db_index=False
    )
    last_used_on = models.DateField()
    """The day (UTC) on which a body that refers to it was last written: it may go when all bodies of that day are
    gone, and nothing has to count references."""
    size_bytes = models.PositiveBigIntegerField()
    """Before compression."""
    stored_bytes = models.PositiveBigIntegerField()
    data = models.BinaryField()

    class Meta:
        db_table = "telemetry_piece"
        verbose_name = "piece"
        indexes = [models.Index(fields=["domain", "last_used_on"], name="piece_domain")]

    def __str__(self) -> str:
        return str(self.id)


class LedgerQuerySet(models.QuerySet["LedgerRow"]):
    def totals(self) -> Ledger:
        """The ledger of the whole cluster, as its processes last wrote it: at most `LEDGER_SECONDS` old."""
        sums = self.aggregate(**{f"all_{name}": models.Sum(name, default=0) for name in COUNTS})
        return Ledger(**{name: sums[f"all_{name}"] for name in COUNTS})


class LedgerRow(models.Model):
    """What one process accepted and where it went: written with each batch, in the transaction that stores it.
    accepted = stored + in flight + spooled; what is missing is the gap."""

    id = models.UUIDField(primary_key=True)
    """Of the process; also the name of its spool."""
    node = models.CharField(max_length=100)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    """When it had stopped in order, or when its spool was adopted."""
    accepted = models.PositiveBigIntegerField(default=0)
    stored = models.PositiveBigIntegerField(default=0)
    in_flight = models.PositiveBigIntegerField(default=0)
    spooled = models.PositiveBigIntegerField(default=0)
    spooled_bytes = models.PositiveBigIntegerField(default=0)
    lost = models.PositiveBigIntegerField(default=0)
    """Known to be gone: the part of the gap that has a reason, which the log of that process tells."""
    bodies_dropped = models.PositiveBigIntegerField(default=0)

    objects = LedgerQuerySet.as_manager()

    class Meta:
        db_table = "telemetry_ledger"
        verbose_name = "ledger"

    def __str__(self) -> str:
        return f"{self.node} {self.id}"

    @classmethod
    def write(cls, page: Page, newly_stored: int) -> int:
        """Adds what a transaction has stored, within it; returns how many exchanges of that process are stored."""
        rows = cls.objects.filter(id=page.process_id)
        if not rows.exists():
            cls.objects.create(id=page.process_id, node=page.node, started_at=page.started_at, seen_at=page.started_at)
        rows.update(
            seen_at=timezone.now(),
            ended_at=page.ended_at,
            accepted=Greatest("accepted", page.accepted),
            stored=models.F("stored") + newly_stored,
            lost=Greatest("lost", page.lost),
            bodies_dropped=Greatest("bodies_dropped", page.bodies_dropped),
            **cls._counts(page, newly_stored),
        )
        return int(rows.values_list("stored", flat=True).get())

    @staticmethod
    def _counts(page: Page, newly_stored: int) -> dict[str, Any]:
        """A slip in the counting must not stop the record: these columns take no negative number."""
        counts = {name: getattr(page, name) for name in ("in_flight", "spooled", "spooled_bytes")}
        told: dict[str, Any] = {name: max(0, value) for name, value in counts.items() if value is not None}
        if page.spooled is None:
            told["spooled"] = Greatest(models.F("spooled") - newly_stored, 0)
        return told
