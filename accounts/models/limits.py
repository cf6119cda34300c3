"""How much may be used: rates, and money."""

from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from accounts.ids import new_id
from accounts.modelrules import validate_model_pattern
from accounts.models.credentials import Credential
from accounts.models.register import ClientKey, Domain, RegisterQuerySet

MOST = 10**12
"""Of any rate: the sums of a window fit a double, in which Redis's scripts calculate."""
MAX_USD = Decimal(10) ** 8
THRESHOLDS = "50, 80, 100"
SCOPES = ("domain", "client_key", "credential")


def _rate(help_text: str) -> Any:
    return models.PositiveBigIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(MOST)], help_text=help_text
    )


class RateLimit(models.Model):
    """How much a domain, a client key, a credential, or all together may use in a span of time. What is empty is not
    limited."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, null=True, blank=True, related_name="rate_limits")
    client_key = models.ForeignKey(
        ClientKey, on_delete=models.CASCADE, null=True, blank=True, related_name="rate_limits"
    )
    credential = models.ForeignKey(
        Credential, on_delete=models.CASCADE, null=True, blank=True, related_name="rate_limits"
    )
    model_pattern = models.CharField(
        "models",
        max_length=200,
        blank=True,
        validators=[validate_model_pattern],
        help_text="Only requests for these models count and are limited, * for any characters: claude-opus-*. Empty: "
        "all requests.",
    )
    requests_per_minute = _rate("Requests in any 60 seconds.")
    requests_per_hour = _rate("Requests in any 60 minutes.")
    input_tokens_per_minute = _rate("Fresh and cache-written tokens of prompts; what is read from the cache is free.")
    input_tokens_per_hour = _rate("The same in any 60 minutes.")
    output_tokens_per_minute = _rate("Tokens of answers, counted when an answer ends.")
    output_tokens_per_hour = _rate("The same in any 60 minutes.")
    concurrent_requests = _rate("Requests that run at the same time.")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = RegisterQuerySet.as_manager()

    class Meta:
        ordering = ["created_at"]
        constraints = [
            *(
                models.UniqueConstraint(
                    fields=[scope, "model_pattern"],
                    condition=models.Q(**{f"{scope}__isnull": False}),
                    name=f"rate_limit_once_{scope}",
                    violation_error_message="There is a limit of this scope for these models already: change that one.",
                )
                for scope in SCOPES
            ),
            models.UniqueConstraint(
                fields=["model_pattern"],
                condition=models.Q(domain=None, client_key=None, credential=None),
                name="rate_limit_once_all",
                violation_error_message="There is a limit of everything for these models already: change that one.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.scope_label}, {self.model_pattern}" if self.model_pattern else self.scope_label

    @property
    def scope_label(self) -> str:
        if self.client_key is not None:
            return f"client key {self.client_key.name}"
        if self.credential is not None:
            return f"credential {self.credential.name}"
        return f"domain {self.domain.host}" if self.domain is not None else "everything"

    def clean(self) -> None:
        chosen = [scope for scope in SCOPES if getattr(self, f"{scope}_id") is not None]
        if len(chosen) > 1:
            raise ValidationError(
                "A limit is of one thing: choose a domain, a client key or a credential, or none of them for all "
                "requests together."
            )


def validate_thresholds(text: str) -> None:
    thresholds_of(text)


def thresholds_of(text: str) -> tuple[int, ...]:
    """Percentages from a list with commas, in order. Raises ValidationError."""
    try:
        found = sorted({int(part.strip().removesuffix("%")) for part in text.split(",") if part.strip()})
    except ValueError:
        raise ValidationError("Give whole percentages with commas between them: 50, 80, 100.") from None
    if not all(1 <= each <= 1000 for each in found) or len(found) > 10:
        raise ValidationError("Give at most ten percentages, each from 1 to 1000.")
    return tuple(found)


class Budget(models.Model):
    """How much money may be spent in a period."""

    class Each(models.TextChoices):
        TOGETHER = "", "together"
        KEY = "key", "each client key"
        USER = "user", "each user"
        SESSION = "session", "each session"

    class Period(models.TextChoices):
        DAY = "day", "a day (UTC)"
        WEEK = "week", "a week, from Monday (UTC)"
        MONTH = "month", "a month (UTC)"
        TOTAL = "total", "in total"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=100, help_text="As it is called where a request is refused.")
    domain = models.ForeignKey(
        Domain, on_delete=models.CASCADE, null=True, blank=True, related_name="budgets", help_text="Whose requests."
    )
    client_key = models.ForeignKey(
        ClientKey,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="budgets",
        help_text="Only those of this key. Neither domain nor key: all requests.",
    )
    each = models.CharField(
        "spent by",
        max_length=10,
        choices=Each,
        default=Each.TOGETHER,
        blank=True,
        help_text="Whether these requests have the money together, or each key, user (the request's metadata.user_id) "
        "or session has that much.",
    )
    period = models.CharField(max_length=10, choices=Period, default=Period.MONTH)
    amount_usd = models.DecimalField(
        "amount",
        max_digits=14,
        decimal_places=4,
        validators=[MinValueValidator(Decimal("0.0001")), MaxValueValidator(MAX_USD)],
        help_text="In USD.",
    )
    max_request_usd = models.DecimalField(
        "largest request",
        max_digits=14,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal("0.0001")), MaxValueValidator(MAX_USD)],
        help_text="In USD: a request that may cost more is refused. It is also the most by which the budget can be "
        "overspent.",
    )
    thresholds = models.CharField(
        max_length=60,
        default=THRESHOLDS,
        blank=True,
        validators=[validate_thresholds],
        help_text="Percentages at which people are told, once in each period.",
    )
    starts_at = models.DateTimeField(
        default=timezone.now, help_text="UTC. What was spent before does not count in a budget “in total”."
    )
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = RegisterQuerySet.as_manager()

    class Meta:
        ordering = ["name", "created_at"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.domain_id is not None and self.client_key_id is not None:
            raise ValidationError("Choose a domain or a client key: a key belongs to one domain anyway.")
        if self.each == self.Each.KEY and self.client_key_id is not None:
            raise ValidationError({"each": "This budget is of one client key already: choose “together”."})
