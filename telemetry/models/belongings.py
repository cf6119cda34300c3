"""What was made at the API with a credential, and can be had again with that one only."""

from django.db import models
from django.utils import timezone

from telemetry.models.record import reference


class Belonging(models.Model):
    """A message batch, file, container or skill, by the id that the API gave it."""

    id = models.CharField(primary_key=True, max_length=200)
    domain = reference("accounts.Domain", "belongings")
    credential = reference("accounts.Credential", "belongings")
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return self.id
