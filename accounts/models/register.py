"""The register: who may call us."""

from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.utils import timezone

from accounts import hosts
from accounts.crypto import EncryptedTextField
from accounts.ids import new_id
from accounts.modelrules import Unpriced, validate_model_patterns
from accounts.patterns import validate_patterns
from accounts.privacy import Storage
from accounts.secret import (
    CLIENT_KEY_START,
    digest,
    new_client_key,
    new_pepper,
    prefix_of,
)

MAX_WAIT_SECONDS = 600
PREVIOUS = ["previous_prefix", "previous_last4", "previous_digest", "previous_until", "previous_used_at"]
"""What is known of the secret that a client key had before."""
ALLOWED_MODELS_HELP = (
    "One model a line, * for any characters: claude-haiku-*. A request for another one is refused. Empty: {empty}."
)


class RegisterQuerySet(models.QuerySet[Any]):
    """Bulk changes reach the running processes too: signals do not see them."""

    def update(self, **values: Any) -> int:
        count = super().update(**values)
        Installation.announce_change()
        return count

    def bulk_create(self, *args: Any, **options: Any) -> list[Any]:
        rows = super().bulk_create(*args, **options)
        Installation.announce_change()
        return rows


class Domain(models.Model):
    """A tenant, named by a host name."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    host = models.CharField(
        max_length=255,
        unique=True,
        validators=[hosts.validate],
        help_text="The host name that this team's programs call, without a port: claude.example.com.",
    )
    is_active = models.BooleanField(default=True, help_text="Off: every key of this domain is refused.")
    allow_passthrough = models.BooleanField(
        default=False,
        help_text="Callers may bring their own Anthropic key or bearer token beside their client key. It is used "
        "where this domain has no credential of its own, passed on untouched and never stored.",
    )
    storage = models.CharField(
        max_length=16,
        choices=[(level.value, level.label) for level in Storage],
        default=Storage.FULL,
        help_text="What the record keeps of this domain's requests. Figures are always kept: limits and costs need "
        "them.",
    )
    redaction_patterns = models.TextField(
        blank=True,
        validators=[validate_patterns],
        help_text="Only for “redacted”: one regular expression a line. What matches is replaced in the stored copy, in "
        "addition to keys, tokens, e-mail addresses, card numbers and private keys.",
    )
    retain_bodies_days = models.PositiveIntegerField(
        null=True, blank=True, help_text="Days until bodies are deleted. Empty: RETENTION_BODIES_DAYS; 0: never."
    )
    retain_rows_days = models.PositiveIntegerField(
        null=True, blank=True, help_text="Days until whole exchanges are deleted. Empty: RETENTION_ROWS_DAYS; 0: never."
    )
    reaches_slack = models.BooleanField(
        "reaches Slack",
        null=True,
        blank=True,
        help_text="Whether Slack hears of this domain. Unknown: yes, unless the host name contains “personal”.",
    )
    allowed_models = models.TextField(
        blank=True, validators=[validate_model_patterns], help_text=ALLOWED_MODELS_HELP.format(empty="any model")
    )
    unpriced_models = models.CharField(
        "models without a price",
        max_length=16,
        choices=[(rule.value, rule.label) for rule in Unpriced],
        default=Unpriced.ASSUME,
        help_text="What to do with a request for a model that has no price. Assumed costs count in budgets only; the "
        "request stays marked as unpriced.",
    )
    max_wait_seconds = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(MAX_WAIT_SECONDS)],
        help_text="How long a request may wait for room in a limit before it is refused, in seconds. 0: it is refused "
        "at once.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = RegisterQuerySet.as_manager()

    class Meta:
        ordering = ["host"]
        permissions = [("all_domains", "Sees all domains, and what belongs to none")]

    def __str__(self) -> str:
        return self.host

    @property
    def may_reach_slack(self) -> bool:
        """What was chosen here, else the original's rule: a personal domain stays out of Slack."""
        return "personal" not in self.host.lower() if self.reaches_slack is None else self.reaches_slack


class Membership(models.Model):
    """Lets a person look at one domain. Those with the permission `accounts.all_domains` look at all."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="memberships")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "domain"], name="membership_once")]

    def __str__(self) -> str:
        return f"{self.user} in {self.domain}"


class ClientKey(models.Model):
    """Who calls us. The key itself is shown once, when it is issued; here are its HMAC and its two ends."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="client_keys")
    name = models.CharField(max_length=100, help_text="Who or what uses it: a person, a team, a program.")
    prefix = models.CharField(max_length=32, db_index=True, editable=False)
    last4 = models.CharField(max_length=4, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="UTC. Empty: it does not expire.")
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    allowed_models = models.TextField(
        blank=True,
        validators=[validate_model_patterns],
        help_text=ALLOWED_MODELS_HELP.format(empty="all that the domain allows"),
    )
    unpriced_models = models.CharField(
        "models without a price",
        max_length=16,
        blank=True,
        choices=[(rule.value, rule.label) for rule in Unpriced],
        help_text="What to do with a request for a model that has no price. Empty: as the domain does.",
    )
    max_wait_seconds = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(MAX_WAIT_SECONDS)],
        help_text="How long a request may wait for room in a limit, in seconds. Empty: as the domain says; 0: it is "
        "refused at once.",
    )
    weight = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text="Its share among the keys that wait for the same credential: 2 gets twice as much as 1.",
    )
    is_background = models.BooleanField(
        "background work",
        default=False,
        help_text="Its requests wait behind those of the keys with which people work.",
    )
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    previous_prefix = models.CharField(max_length=32, blank=True, db_index=True, editable=False)
    previous_last4 = models.CharField(max_length=4, blank=True, editable=False)
    previous_digest = models.CharField(max_length=64, blank=True, editable=False)
    """The secret that it had before it was rotated, which is good until the next says so."""
    previous_until = models.DateTimeField(null=True, blank=True, editable=False)
    previous_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = RegisterQuerySet.as_manager()

    class Meta:
        ordering = ["domain__host", "name"]

    def __str__(self) -> str:
        return f"{self.name} ({self.masked})"

    @classmethod
    def issue(cls, domain: Domain, name: str, expires_at: datetime | None = None) -> tuple[Self, str]:
        """A new key and its secret, which cannot be had again."""
        key = cls(domain=domain, name=name, expires_at=expires_at)
        secret = key.assign_secret()
        key.save()
        return key, secret

    def assign_secret(self) -> str:
        secret = new_client_key()
        self.take_secret(secret)
        return secret

    def take_secret(self, secret: str) -> None:
        """One of ours, or one that a program has had from elsewhere."""
        self.digest = digest(secret, Installation.current().pepper)
        self.prefix = prefix_of(secret, self.digest)
        self.last4 = secret[-4:]

    def rotate(self, grace: timedelta) -> str:
        """A new secret, which cannot be had again. The old one stays good for a while, one that was still older does
        not. Of two at the same moment the first one's is old at once."""
        with transaction.atomic():
            stored = ClientKey.objects.select_for_update().get(pk=self.pk)
            secret = self.assign_secret()
            if grace > timedelta(0):
                self.previous_prefix, self.previous_last4 = stored.prefix, stored.last4
                self.previous_digest = stored.digest
                self.previous_until = timezone.now() + grace
                self.previous_used_at = None
            else:
                self._forget_previous()
            self.save(update_fields=["prefix", "last4", "digest", *PREVIOUS])
        return secret

    def end_previous(self) -> None:
        """The old secret is refused from now on: on every node within two seconds."""
        self._forget_previous()
        self.save(update_fields=PREVIOUS)

    def _forget_previous(self) -> None:
        self.previous_prefix = self.previous_last4 = self.previous_digest = ""
        self.previous_until = self.previous_used_at = None

    @property
    def has_previous(self) -> bool:
        """An old secret is still good."""
        return self.previous_until is not None and self.previous_until > timezone.now()

    @property
    def masked(self) -> str:
        start = CLIENT_KEY_START if self.prefix.startswith(CLIENT_KEY_START) else ""
        return f"{start}…{self.last4}"

    @property
    def state(self) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at and self.expires_at <= timezone.now() else "active"

    def revoke(self) -> None:
        """Takes effect on every node within two seconds. The row stays: the record refers to it."""
        if self.revoked_at is None:
            self.revoked_at = timezone.now()
            self.save(update_fields=["revoked_at"])


class Installation(models.Model):
    """The one row that all processes share: a number that grows with every change of the register, and the
    pepper of its HMACs. Being encrypted, the pepper also proves at start that NEXUS_ENCRYPTION_KEYS is right."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    generation = models.PositiveBigIntegerField(default=1)
    pepper = EncryptedTextField()

    def __str__(self) -> str:
        return f"generation {self.generation}"

    @classmethod
    def current(cls) -> "Installation":
        return cls.objects.get_or_create(id=1, defaults={"pepper": new_pepper()})[0]

    @classmethod
    def announce_change(cls) -> None:
        cls.objects.filter(id=1).update(generation=models.F("generation") + 1)


def touch_last_used(key_id: UUID, at: datetime, column: str = "last_used_at") -> None:
    """Not a change of the register: nobody has to hear of it. *column*: `previous_used_at` for its old secret."""
    is_later = models.Q(**{f"{column}__lt": at}) | models.Q(**{f"{column}__isnull": True})
    models.QuerySet(ClientKey).filter(is_later, id=key_id).update(**{column: at})
