"""A moment as an option of a command."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

_AGO = re.compile(r"(\d{1,6})([hd])")


class Moment(click.ParamType[datetime]):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        if ago := _AGO.fullmatch(value):
            unit = timedelta(hours=1) if ago[2] == "h" else timedelta(days=1)
            return max(datetime.now(UTC) - int(ago[1]) * unit, datetime(1970, 1, 1, tzinfo=UTC))
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r}: write 24h, 7d, or a time as ISO 8601, such as 2026-11-23T08:00:00Z.", param, ctx)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


MOMENT = Moment()
