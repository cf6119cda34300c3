"""What every task of beat's schedule gets, so that none can pile up or run for ever."""

from typing import Any

from celery.schedules import crontab

SOFT_MIN_SECONDS, SOFT_MAX_SECONDS = 30, 1800
HARD_AFTER_SECONDS = 15
"""Between the exception that a task may clean up after, and the end of its process."""
VISIBILITY_SECONDS = 3600
"""After which Redis gives a message to another worker: longer than any task may run, or it would run twice."""
DAY_SECONDS = 86_400

Entry = dict[str, Any]


def complete(schedule: dict[str, Entry]) -> dict[str, Entry]:
    """A run that was not begun before the next one is due is left out; one that takes as long as its period (between
    half a minute and half an hour) is stopped. What an entry says itself stays."""
    return {name: {**entry, "options": _options(entry)} for name, entry in schedule.items()}


def _options(entry: Entry) -> dict[str, Any]:
    period = period_seconds(entry["schedule"])
    soft = max(SOFT_MIN_SECONDS, min(SOFT_MAX_SECONDS, period))
    limits = {"soft_time_limit": soft, "time_limit": soft + HARD_AFTER_SECONDS}
    return {"expires": period, **limits, **entry.get("options", {})}


def period_seconds(schedule: float | crontab) -> float:
    """A crontab here is for once a day, or rarer."""
    return DAY_SECONDS if isinstance(schedule, crontab) else float(schedule)
