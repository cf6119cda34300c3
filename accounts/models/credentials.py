"""What we call Claude with: the credential as an operator sets it up, the token that renews itself, and how it stands.

Three rows instead of one: a form that is saved for minutes after it was opened must never put back an older token, nor
undo what was found out meanwhile.
"""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

from accounts.crypto import EncryptedTextField, is_sealed
from accounts.ids import new_id
from accounts.modelrules import validate_model_patterns
from accounts.models.register import Domain, Installation, RegisterQuerySet
from accounts.secret import digest, masked, validate_upstream_secret

_WORD = RegexValidator(r"^[\w.:-]+\Z", "Use letters, digits, dots, colons, dashes and underscores.")


class Credential(models.Model):
    """What we call Claude with, encrypted at rest."""

    class Kind(models.TextChoices):
        API_KEY = "api_key", "API key (x-api-key)"
        BEARER = "bearer", "Bearer token (Authorization)"
        OAUTH = "oauth", "OAuth 2 with a refresh token"
        FEDERATION = "federation", "Workload identity federation"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="credentials")
    shared_with = models.ManyToManyField(
        Domain, blank=True, related_name="shared_credentials", help_text="Other domains that may use it too."
    )
    name = models.CharField(max_length=100)
    owner = models.CharField(max_length=100, help_text="The person who answers for it and renews it.")
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.API_KEY)
    secret = EncryptedTextField(null=True, blank=True, validators=[validate_upstream_secret])
    masked = models.CharField(max_length=40, editable=False)
    fingerprint = models.CharField(max_length=16, editable=False, help_text="The same key has the same fingerprint.")
    expires_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="UTC; of a key or token that Anthropic lets end, so that you hear of it in time. Tokens that renew "
        "themselves need none.",
    )
    federation_rule_id = models.CharField(max_length=100, blank=True, validators=[_WORD])
    organization_id = models.CharField(max_length=100, blank=True, validators=[_WORD])
    service_account_id = models.CharField(max_length=100, blank=True, validators=[_WORD])
    workspace_id = models.CharField(max_length=100, blank=True, validators=[_WORD])
    assertion_file = models.CharField(
        max_length=500,
        blank=True,
        help_text="Where the platform keeps the identity token (a JWT), in one of the folders of FEDERATION_DIRS. "
        "Empty: FEDERATION_COMMAND is run for it.",
    )
    priority = models.PositiveSmallIntegerField(
        default=0, help_text="Those with the lowest number are used, as long as one of them can be."
    )
    weight = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text="Its share of new sessions among those of the same priority: 2 gets twice as many as 1.",
    )
    is_standby = models.BooleanField(
        "standby", default=False, help_text="Used only while no other credential of the domain can be."
    )
    allowed_models = models.TextField(
        blank=True,
        validators=[validate_model_patterns],
        help_text="One model a line, * for any characters: claude-haiku-*. Other models are left to the domain's other "
        "credentials. Empty: any model.",
    )
    replaces = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="replacements",
        help_text="A credential of the same domain that this one is to replace, step by step.",
    )
    traffic_percent = models.PositiveSmallIntegerField(
        "share of traffic",
        default=5,
        validators=[MaxValueValidator(100)],
        help_text="Of the sessions that would use the replaced credential, in percent. If the API refuses this one "
        "with 401 or 403 it falls back to 0 by itself.",
    )
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = RegisterQuerySet.as_manager()

    class Meta:
        ordering = ["domain__host", "priority", "name"]

    def __str__(self) -> str:
        return f"{self.name} ({self.masked})" if self.masked else self.name

    def save(self, *args: Any, **options: Any) -> None:
        if not is_sealed(self, "secret"):
            secret = self.secret = self.secret or None
            self.masked = masked(secret) if secret else ""
            self.fingerprint = digest(secret, Installation.current().pepper)[:16] if secret else ""
        if options.get("update_fields") and "secret" in options["update_fields"]:
            options["update_fields"] = {*options["update_fields"], "masked", "fingerprint"}
        is_new_secret = self._has_new_secret()
        super().save(*args, **options)
        if is_new_secret:  # what was found out was about the old one
            CredentialStanding.objects.filter(credential=self).update(invalid_since=None, invalid_reason="")

    def clean(self) -> None:
        if self.kind == self.Kind.FEDERATION and not (self.federation_rule_id and self.organization_id):
            raise ValidationError({"federation_rule_id": "A federation needs its rule's id and the organization's."})
        self._clean_replaces()
        if is_sealed(self, "secret"):
            return
        if self.is_renewable and self.secret:
            raise ValidationError({"secret": "A credential of this kind gets its token by itself: leave this empty."})
        if not self.is_renewable and not self.secret:
            raise ValidationError({"secret": "Paste the key or token."})
        if self.kind == self.Kind.API_KEY and (self.secret or "").startswith("sk-ant-oat"):
            raise ValidationError({"kind": "This is an OAuth access token: choose the kind “bearer token”."})

    @property
    def is_renewable(self) -> bool:
        """Its access token is in its `OAuthToken`, and is renewed by Nexus."""
        return self.kind in (self.Kind.OAUTH, self.Kind.FEDERATION)

    def _has_new_secret(self) -> bool:
        if is_sealed(self, "secret") or self._state.adding:
            return False
        stored = Credential.objects.filter(id=self.id).values_list("fingerprint", flat=True).first()
        return stored is not None and stored != self.fingerprint

    def _clean_replaces(self) -> None:
        if self.replaces is None:
            return
        if self.replaces_id == self.id or self.replaces.replaces_id == self.id:
            raise ValidationError({"replaces": "A credential cannot replace itself."})
        if self.replaces.domain_id != self.domain_id:
            raise ValidationError({"replaces": "It can only replace a credential of its own domain."})


class OAuthToken(models.Model):
    """The access token of a credential that renews itself, and what it is renewed with. Written by `accounts.oauth`
    alone, by conditional updates; who has written a new token announces the change of the register."""

    credential = models.OneToOneField(Credential, on_delete=models.CASCADE, primary_key=True, related_name="token")
    access_token = EncryptedTextField(null=True, blank=True)
    refresh_token = EncryptedTextField(null=True, blank=True)
    masked = models.CharField(max_length=40, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    client_id = models.CharField(max_length=200, blank=True)
    """Of the client to which the refresh token was given; empty: CLAUDE_OAUTH_CLIENT_ID."""
    scopes = models.CharField(max_length=500, blank=True)
    version = models.PositiveIntegerField(default=0)
    """Grows with each new token."""
    refreshed_at = models.DateTimeField(null=True, blank=True)
    claimed_by = models.UUIDField(null=True, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)
    """Until then nobody else may refresh it."""
    failures = models.PositiveIntegerField(default=0)
    """In a row."""
    failed_at = models.DateTimeField(null=True, blank=True)
    failure = models.CharField(max_length=300, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)
    needs_login = models.BooleanField(default=False)
    """The refresh token is no good any more: only a person can help."""

    def __str__(self) -> str:
        return f"token {self.version} of {self.credential_id}"


class CredentialStanding(models.Model):
    """What was found out about a credential. Whoever changes what the hot path goes by, announces it."""

    credential = models.OneToOneField(Credential, on_delete=models.CASCADE, primary_key=True, related_name="standing")
    invalid_since = models.DateTimeField(null=True, blank=True)
    invalid_reason = models.CharField(max_length=300, blank=True)
    rolled_back_at = models.DateTimeField(null=True, blank=True)
    """When its share of the traffic was set to 0."""
    rolled_back_reason = models.CharField(max_length=300, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    check_status = models.PositiveSmallIntegerField(null=True, blank=True)
    """HTTP; None: no answer came."""
    check_message = models.CharField(max_length=300, blank=True)
    latency_ms = models.PositiveIntegerField(null=True, blank=True)
    organization_id = models.CharField(max_length=100, blank=True)
    """As the API named it in its answer."""
    models_seen = models.JSONField(default=list, blank=True)
    """Ids of the models that it may use."""

    def __str__(self) -> str:
        return f"standing of {self.credential_id}"
