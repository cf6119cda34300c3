"""The admin of telemetry, a file for each room; Django finds them here."""

from telemetry.admin import batches, credentials, incidents, limits, money, notices, record

__all__ = ["batches", "credentials", "incidents", "limits", "money", "notices", "record"]
