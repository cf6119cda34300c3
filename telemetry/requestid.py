"""Whose request this code runs for: bound where a request or a task begins, read by every log line."""

import re
from contextvars import ContextVar

HEADER = "x-nexus-request-id"
request_id: ContextVar[str] = ContextVar("request_id", default="")
correlation_id: ContextVar[str] = ContextVar("correlation_id", default="")
"""What a peer that we trust calls it."""
_PLAIN = re.compile(r"[\w.:-]{1,100}", re.ASCII)


def acceptable(value: str) -> str:
    """The id that somebody else gave, or nothing: it goes into log lines and into a column."""
    return value if _PLAIN.fullmatch(value) else ""
