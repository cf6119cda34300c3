"""Host names: one normal form for all of Nexus."""

import re

from django.core.exceptions import ValidationError

_LABEL = r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


def normalise(host: str) -> str:
    """A Host header without its port, in lower case, without a final dot."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[: host.find("]") + 1]
    return host.partition(":")[0].rstrip(".")


def validate(host: str) -> None:
    if host != normalise(host):
        raise ValidationError("Write the host name in lower case, without port and final dot.")
    if len(host) > 253 or not (_NAME.fullmatch(host) or _is_ipv6(host)):
        raise ValidationError("This is not a host name, such as claude.example.com or localhost.")


def _is_ipv6(host: str) -> bool:
    return re.fullmatch(r"\[[0-9a-f:.]{2,45}\]", host) is not None
