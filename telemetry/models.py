"""The record: small rows and heavy bodies apart."""

from typing import Any

from django.db import models

from telemetry.record import bodies
from telemetry.record import exchange as facts


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


def _reference(to: str) -> Any:
    """To a row of the register. No constraint in the database: a batch of the record must never fail on one row.
    Django itself still refuses to delete what the record refers to."""
    return models.ForeignKey(
        to, on_delete=models.PROTECT, db_constraint=False, null=True, related_name="exchanges", db_index=False
    )


class ExchangeRow(models.Model):
    """One request and its answer. Columns mean what `telemetry.record.exchange.Exchange` says."""

    id = models.UUIDField(primary_key=True)
    started_at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    first_byte_ms = models.PositiveIntegerField(null=True)
    overhead_us = models.PositiveIntegerField()

    domain = _reference("accounts.Domain")
    client_key = _reference("accounts.ClientKey")
    credential = _reference("accounts.Credential")
    credential_source = models.CharField(max_length=16)

    method = models.CharField(max_length=16)
    path = models.CharField(max_length=500)
    kind = models.CharField(max_length=20, choices=Kind)
    is_stream = models.BooleanField()
    model = models.CharField(max_length=200)
    answered_model = models.CharField(max_length=200)
    message_count = models.PositiveIntegerField()
    session_id = models.CharField(max_length=100)
    agent_id = models.CharField(max_length=100)
    parent_agent_id = models.CharField(max_length=100)
    user_agent = models.CharField(max_length=300)
    client_address = models.CharField(max_length=64)
    request_bytes = models.PositiveBigIntegerField()

    status = models.PositiveSmallIntegerField(null=True)
    outcome = models.CharField(max_length=20, choices=Outcome)
    error_type = models.CharField(max_length=64)
    error_message = models.CharField(max_length=500)
    attempts = models.PositiveSmallIntegerField()
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

    class Meta:
        db_table = "telemetry_exchange"
        verbose_name = "exchange"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["-started_at"], name="exchange_started_at"),
            models.Index(fields=["domain", "-started_at"], name="exchange_domain"),
            models.Index(fields=["client_key", "-started_at"], name="exchange_client_key"),
            models.Index(fields=["kind", "-started_at"], name="exchange_kind"),
            models.Index(fields=["session_id", "-started_at"], name="exchange_session"),
            models.Index(fields=["agent_id"], name="exchange_agent"),
            models.Index(fields=["parent_agent_id"], name="exchange_parent_agent"),
            models.Index(fields=["upstream_request_id"], name="exchange_upstream_id"),
        ]

    def __str__(self) -> str:
        return str(self.id)

    def request_body(self) -> bytes | None:
        """The body as it was received; None where it was not kept."""
        body = self._body()
        return None if body is None else bodies.decompress(bytes(body.request), body.codec)

    def response_body(self) -> bytes | None:
        """The body as the API sent it, a stream as its events; None where it was not kept."""
        body = self._body()
        return None if body is None else bodies.decompress(bytes(body.response), body.codec)

    def _body(self) -> "BodyRow | None":
        return getattr(self, "body", None)  # Django raises an AttributeError of its own where there is no row


class BodyRow(models.Model):
    """The bodies and headers of one exchange, compressed with zstd (`codec` names it)."""

    exchange = models.OneToOneField(
        ExchangeRow, primary_key=True, on_delete=models.CASCADE, related_name="body", db_constraint=False
    )
    codec = models.CharField(max_length=8)
    request_headers = models.TextField()
    response_headers = models.TextField()
    request = models.BinaryField()
    response = models.BinaryField()
    request_is_whole = models.BooleanField()
    response_is_whole = models.BooleanField()

    class Meta:
        db_table = "telemetry_body"
        verbose_name = "body"
        verbose_name_plural = "bodies"

    def __str__(self) -> str:
        return str(self.exchange_id)
