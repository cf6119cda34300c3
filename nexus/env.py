"""Reads environment variables strictly: a bad value stops the program in a sentence that names the variable.

Every reader takes the name, a default and one line of help; what was read is kept in `VARIABLES`, from which
`nexus variables` prints the table of the documentation.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from accounts.secret import hide

T = TypeVar("T")
N = TypeVar("N", int, float)
B = TypeVar("B", bool, bool | None)
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable as the documentation shows it."""

    name: str
    default: str
    help: str
    is_secret: bool = False
    """May also come from the file that NAME_FILE names."""
    expected: str = ""
    """What an error asks for; empty: any text will do."""


VARIABLES: dict[str, Variable] = {}


def text(name: str, default: str = "", *, help: str) -> str:
    return _read(name, default, str, "", help)


def secret(name: str, default: str = "", *, help: str) -> str:
    """A secret from NAME, or from the file that NAME_FILE names (as containers mount them)."""

    def parse(value: str) -> str:
        hide(*value.split(","))
        return value

    return _read(name, default, parse, "", help, is_secret=True)


def boolean(name: str, default: B, *, help: str) -> B:
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False}
    words["off"] = False

    def parse(value: str) -> bool:
        return words[value.strip().lower()]

    return _read(name, default, parse, "use true or false", help)


def integer(name: str, default: int, *, help: str, minimum: int = 0) -> int:
    def parse(value: str) -> int:
        return _at_least(minimum, int(value))

    return _read(name, default, parse, f"use a whole number of at least {minimum}", help)


def milliseconds(name: str, default: int, *, help: str) -> float:
    """A duration given in milliseconds, as the original's variables are; returned in seconds."""
    return integer(name, default, help=f"{help}, in milliseconds", minimum=1) / 1000


def seconds(name: str, default: float, *, help: str) -> float:
    def parse(value: str) -> float:
        return _at_least(0.001, float(value))

    return _read(name, default, parse, "use a number of seconds above 0", f"{help}, in seconds")


def names(name: str, default: tuple[str, ...] = (), *, help: str) -> tuple[str, ...]:
    """A list separated by commas."""

    def parse(value: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in value.split(",") if part.strip())

    return _read(name, default, parse, "", f"{help}, separated by commas")


def networks(name: str, *, help: str) -> tuple[Network, ...]:
    def parse(value: str) -> tuple[Network, ...]:
        return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())

    return _read(name, (), parse, "use networks such as 10.0.0.0/8, separated by commas", f"{help}, comma separated")


def rate(name: str, default: str, *, help: str) -> str:
    """How many in a second, minute, hour or day, such as 600/m; `none`: no limit."""

    def parse(value: str) -> str:
        if value.lower() == "none":
            return ""
        if not re.fullmatch(r"[1-9][0-9]*/[0-9]*[smhd]", value):
            raise ValueError
        return value

    return _read(name, default, parse, "use a rate such as 600/m, or none", help)


def url(name: str, default: str, *, help: str, schemes: tuple[str, ...] = ("http", "https")) -> str:
    def parse(value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in schemes or not (parts.netloc or parts.scheme == "sqlite"):
            raise ValueError
        hide(parts.password or "")
        return value

    # It may hold a password.
    return _read(name, default, parse, f"use a URL that starts with {' or '.join(schemes)}", help, is_secret=True)


def _read(name: str, default: T, parse: Callable[[str], T], expected: str, help: str, *, is_secret: bool = False) -> T:
    """A secret may come from a file, and its value is never repeated."""
    VARIABLES[name] = Variable(name, _spelled(default), help, is_secret, expected)
    value = os.environ.get(name, "")
    if is_secret:
        value = _or_from_file(name, value)
    if not value:
        return default
    try:
        return parse(value)
    except (ValueError, KeyError):
        said = name if is_secret else f"{name}={value!r}"
        raise ImproperlyConfigured(f"{said}: {expected}.") from None


def _or_from_file(name: str, value: str) -> str:
    """Which of two was meant is not guessed: one of them may be an old one."""
    if not (path := os.environ.get(f"{name}_FILE")):
        return value
    if value:
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set: unset one of them.")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{name}_FILE={path!r} cannot be read: {error}.") from None


def _at_least(minimum: N, value: N) -> N:
    if not minimum <= value < float("inf"):
        raise ValueError
    return value


def _spelled(default: object) -> str:
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)
