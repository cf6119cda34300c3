"""The record in sums, an hour of each domain at a time, and the marks that say which hours have to be summed anew."""

from django.db import models

from telemetry.models.record import reference


class HourMark(models.Model):
    """Something changed in this hour of this domain (`telemetry.money.marks`)."""

    id = models.UUIDField(primary_key=True)
    """Made of hour, domain and writer: those who write at the same time do not wait for each other."""
    hour = models.DateTimeField()
    domain = reference("accounts.Domain", related_name="+")
    stamp = models.UUIDField()
    """Of the last change: a mark is deleted only if it still has the stamp that was read before its hour was summed."""

    class Meta:
        db_table = "telemetry_hour_mark"

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}:00 of {self.domain_id or 'no domain'}"
