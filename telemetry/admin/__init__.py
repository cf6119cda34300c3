"""The admin of telemetry, a file for each room; Django finds them here."""

from telemetry.admin import money, notices, record

__all__ = ["money", "notices", "record"]
