"""Addresses that notices go to: what they may look like, and how they are shown. An address is a secret."""

from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
NO_ID = UUID(int=0)
SHOWN_CHARACTERS = 4
HIDDEN_MIN_CHARACTERS = 12
MASKED_HOST_LENGTH = 100


def validate_url(url: str) -> None:
    """Never repeats the address."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValidationError("This is not a URL.") from None
    if not host or url != url.strip() or any(character <= " " for character in url):
        raise ValidationError("This is not a URL, such as https://hooks.slack.com/services/…")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK):
        raise ValidationError("The URL must start with https://: what is sent there is not for everybody to read.")


def masked_url(url: str) -> str:
    """The host and the last four characters; a path too short to hide something shows none of it."""
    parts = urlsplit(url)
    host = f"{parts.hostname or ''}:{parts.port}" if parts.port else parts.hostname or ""
    rest = parts.path + parts.query
    end = rest[-SHOWN_CHARACTERS:] if len(rest) >= SHOWN_CHARACTERS + HIDDEN_MIN_CHARACTERS else ""
    return f"{host[:MASKED_HOST_LENGTH]}/…{end}"


def validate_time_zone(name: str) -> None:
    if name not in available_timezones():
        raise ValidationError("This is not a time zone, such as Europe/Berlin.")
