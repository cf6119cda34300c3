"""What is still to be sent to the telemetry endpoint."""

from django.db import models


class ExportRow(models.Model):
    """One exchange that the telemetry endpoint has not confirmed. It is entered by the transaction that stores the
    exchange, and deleted when the endpoint has answered."""

    exchange_id = models.UUIDField(primary_key=True)
    due_at = models.DateTimeField()
    """Not before. Whoever sends it puts this ahead first, so that nobody else does."""
    attempts = models.PositiveIntegerField(default=0)

    class Meta:
        db_table = "telemetry_export"

    def __str__(self) -> str:
        return str(self.exchange_id)
