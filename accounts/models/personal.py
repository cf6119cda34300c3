"""Keys with which a person's scripts look at the dashboard: they see what the person sees, and call nothing."""

import secrets
from datetime import timedelta
from typing import Optional

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.utils import timezone

from accounts.ids import new_id
from accounts.models.register import Installation
from accounts.secret import CLIENT_KEY_START, digest

PERSONAL_KEY_START = f"{CLIENT_KEY_START}own_"
USE_NOTED = timedelta(minutes=1)


class PersonalKey(models.Model):
    """The secret is shown once; what is kept is an HMAC."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="personal_keys")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    last4 = models.CharField(max_length=4, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.masked})"

    @property
    def masked(self) -> str:
        return f"{PERSONAL_KEY_START}…{self.last4}"

    @classmethod
    def issue(cls, user: User, name: str) -> tuple["PersonalKey", str]:
        """The row, and the secret, which cannot be had again."""
        secret = PERSONAL_KEY_START + secrets.token_urlsafe(32)
        computed = digest(secret, Installation.current().pepper)
        return cls.objects.create(user=user, name=name, digest=computed, last4=secret[-4:]), secret

    @classmethod
    def recognise(cls, secret: str) -> Optional["PersonalKey"]:
        """Of a person who may still look."""
        if not secret.startswith(PERSONAL_KEY_START):
            return None
        return cls._good().filter(digest=digest(secret, Installation.current().pepper)).first()

    @classmethod
    def still_good(cls, row_id: str) -> Optional["PersonalKey"]:
        return cls._good().filter(pk=row_id).first()

    @classmethod
    def _good(cls) -> "models.QuerySet[PersonalKey]":
        people = {"user__is_active": True, "user__is_staff": True}
        return cls.objects.filter(revoked_at=None, **people).select_related("user")

    def note_use(self) -> None:
        now = timezone.now()
        if self.last_used_at is None or self.last_used_at < now - USE_NOTED:
            type(self).objects.filter(pk=self.pk).update(last_used_at=now)

    def revoke(self) -> None:
        type(self).objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=timezone.now())
