"""What people hear of: where it goes, what waits to go there, and what has become of it."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts.crypto import EncryptedTextField, is_sealed
from accounts.ids import new_id
from telemetry.models.record import reference
from telemetry.notices.addresses import NO_ID, masked_url, validate_time_zone, validate_url
from telemetry.notices.notice import NoticeKind

SLACK = "slack"
"""The sink of that name; any other sink is a webhook, by its id."""


def kinds() -> list[tuple[str, str]]:
    return [(kind.value, kind.value) for kind in NoticeKind]


def default_kinds() -> list[str]:
    """Not what people said: that is sent only where somebody chose it."""
    return [NoticeKind.ERROR.value, NoticeKind.INCIDENT.value, NoticeKind.DIGEST.value]


class SlackSettings(models.Model):
    """How a domain reaches Slack, or, without a domain, how the installation does. What is empty here is as the
    installation's row says, and then as the variables say."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    domain = models.ForeignKey(
        "accounts.Domain",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="slack_settings",
        help_text="Empty: the settings of the whole installation.",
    )
    is_on = models.BooleanField(
        "tell Slack",
        null=True,
        blank=True,
        choices=[(None, "By default"), (True, "Yes"), (False, "No")],
        help_text="By default: as the installation's settings say, and then SLACK_ENABLED. No: nothing is sent for "
        "this domain, to no webhook. A domain that may not reach Slack at all stays silent whatever is chosen here.",
    )
    webhook_url = EncryptedTextField(null=True, blank=True, validators=[validate_url])
    webhook_masked = models.CharField("webhook", max_length=120, blank=True, editable=False)
    channel = models.CharField(max_length=80, blank=True, help_text="Such as #claude. Needed with a bot token.")
    username = models.CharField(max_length=80, blank=True)
    icon_emoji = models.CharField(max_length=80, blank=True, help_text="Such as :robot_face:")
    quiet_from = models.TimeField(null=True, blank=True)
    quiet_until = models.TimeField(null=True, blank=True)
    time_zone = models.CharField(
        max_length=64, blank=True, validators=[validate_time_zone], help_text="Of these times. Empty: UTC."
    )
    digest_at = models.TimeField(null=True, blank=True, help_text="When the day's digest is sent. Empty: never.")

    class Meta:
        verbose_name = verbose_name_plural = "Slack settings"
        constraints = [
            models.UniqueConstraint(
                Coalesce("domain", models.Value(NO_ID, output_field=models.UUIDField())),
                name="slack_settings_once",
                violation_error_message="There are settings for this already: change those.",
            )
        ]

    def __str__(self) -> str:
        return f"Slack settings of {self.domain or 'the installation'}"

    def save(self, *args: Any, **options: Any) -> None:
        if not is_sealed(self, "webhook_url"):
            self.webhook_url = self.webhook_url or None
            self.webhook_masked = masked_url(self.webhook_url) if self.webhook_url else ""
            if options.get("update_fields") and "webhook_url" in options["update_fields"]:
                options["update_fields"] = {*options["update_fields"], "webhook_masked"}
        super().save(*args, **options)

    def clean(self) -> None:
        if (self.quiet_from is None) != (self.quiet_until is None):
            raise ValidationError({"quiet_until": "Quiet hours need both ends, or none."})


class Webhook(models.Model):
    """A program that hears of what people hear of: signed JSON by HTTP."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=100, unique=True)
    url = EncryptedTextField(validators=[validate_url])
    url_masked = models.CharField("URL", max_length=120, blank=True, editable=False)
    secret = EncryptedTextField()
    kinds = models.JSONField(default=default_kinds)
    domain = models.ForeignKey(
        "accounts.Domain",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="webhooks",
        help_text="Empty: it hears of all domains, of conversations and errors only where they may reach Slack.",
    )
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **options: Any) -> None:
        if not is_sealed(self, "url"):
            self.url_masked = masked_url(self.url)
            if options.get("update_fields") and "url" in options["update_fields"]:
                options["update_fields"] = {*options["update_fields"], "url_masked"}
        super().save(*args, **options)


class Target(models.Model):
    """One place at the other end, such as a Slack webhook: what all workers have to know before they send there."""

    id = models.CharField(max_length=64, primary_key=True)
    """An HMAC of where it is: the address itself is a secret."""
    label = models.CharField("target", max_length=200)
    free_at = models.DateTimeField(default=timezone.now)
    """When the next message may go there. While one is on its way: when that one is taken to be lost."""
    failures = models.PositiveIntegerField(default=0)
    """In a row, since something last arrived."""
    failing_since = models.DateTimeField(null=True, blank=True)
    """It refuses what we send for a reason that time does not heal: nothing goes there until somebody acts."""
    failing_reason = models.CharField(max_length=300, blank=True)
    dropped = models.PositiveBigIntegerField(default=0)
    """Conversations that were given up because too many waited."""
    delivered_at = models.DateTimeField("last delivered", null=True, blank=True)

    def __str__(self) -> str:
        return self.label


class State(models.TextChoices):
    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"
    """It was sent, and nobody answered: it may have arrived. It is not sent again unasked."""
    WITHDRAWN = "withdrawn"
    """Where it should go was switched off before it went."""
    HELD = "held"
    """It waits for the end of quiet hours (`telemetry.notices.quiet`)."""
    GATHERED = "gathered"
    """It was told together with others, in the message of one of them."""


UNSETTLED = (State.PENDING, State.SENDING, State.HELD)


class Delivery(models.Model):
    """One notice on its way to one sink."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    notice_id = models.UUIDField()
    sink = models.CharField(max_length=36)
    kind = models.CharField(max_length=16, choices=kinds())
    domain = reference("accounts.Domain", "deliveries")
    exchange_id = models.UUIDField(null=True)
    thread = models.UUIDField(null=True)
    position = models.UUIDField()
    """A UUIDv7: what is told to one target is told in this order."""
    payload = models.TextField(blank=True)
    """The notice as JSON, until it is delivered."""
    entered_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(default=timezone.now)
    give_up_at = models.DateTimeField()

    state = models.CharField(max_length=16, choices=State, default=State.PENDING)
    target = models.CharField(max_length=64, blank=True)
    target_label = models.CharField("target", max_length=200, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    claim = models.UUIDField(null=True)
    """Of the worker that sent it last."""
    sending_until = models.DateTimeField(null=True)
    """When a worker that has said nothing is taken to be dead."""
    settled_at = models.DateTimeField(null=True)
    http_status = models.PositiveSmallIntegerField("HTTP status", null=True)
    error = models.CharField(max_length=300, blank=True)
    message_ts = models.CharField(max_length=40, blank=True)
    """Slack's name of the message, to which a thread is attached."""
    message_channel = models.CharField(max_length=40, blank=True)
    """Slack's own id of its channel, which a change of the message needs."""

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["notice_id", "sink"], name="delivery_once")]
        indexes = [
            models.Index(
                fields=["sink", "domain", "position"],
                name="delivery_unsettled",
                condition=models.Q(state__in=["pending", "sending"]),
            ),
            models.Index(fields=["state", "id"], name="delivery_state"),
            models.Index(fields=["thread", "sink"], name="delivery_thread", condition=models.Q(thread__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.notice_id}"


class Candidate(models.Model):
    """An exchange that people may hear of, entered in the transaction that stores it; its words are found later."""

    exchange_id = models.UUIDField(primary_key=True)
    domain_id = models.UUIDField()
    is_error = models.BooleanField()

    def __str__(self) -> str:
        return str(self.exchange_id)


class LastSaid(models.Model):
    """What the user of a conversation was last shown to have said, as a hash."""

    id = models.CharField(max_length=64, primary_key=True)
    """A hash of the sink's domain and the conversation."""
    text_hash = models.CharField(max_length=64)
    updated_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.id


class ErrorStreak(models.Model):
    """Errors of one kind in one domain: told at once, then summed up."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    domain_id = models.UUIDField()
    error_type = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    """0: there was none."""
    told_at = models.DateTimeField(db_index=True)
    untold = models.PositiveBigIntegerField(default=0)
    last_exchange_id = models.UUIDField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["domain_id", "error_type", "status"], name="error_streak_once")]

    def __str__(self) -> str:
        return f"{self.error_type} {self.status}"
