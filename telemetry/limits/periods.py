"""When a period of a budget begins and ends. Periods are those of the calendar, in UTC."""

from datetime import UTC, datetime, timedelta

DAY = timedelta(days=1)


def period_of(period: str, moment: datetime, starts_at: datetime) -> tuple[datetime, datetime | None]:
    """Its first moment, and the first one after it; a budget in total has no end. *starts_at* counts for that alone."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return day, day + DAY
    if period == "week":
        monday = day - day.weekday() * DAY
        return monday, monday + 7 * DAY
    if period == "month":
        first = day.replace(day=1)
        return first, (first + 31 * DAY).replace(day=1)
    return starts_at, None
