import time

from django.apps import AppConfig

STARTED = time.monotonic()
"""When this process came up, or nearly."""


class DashboardConfig(AppConfig):
    name = "dashboard"


def uptime_seconds() -> float:
    return time.monotonic() - STARTED
