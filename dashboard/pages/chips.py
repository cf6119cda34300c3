"""Filters of the list as chips that can be taken off: each is an address without it."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import QueryDict

NAMES = {
    "range": "last",
    "domain": "domain",
    "key": "key",
    "credential": "credential",
    "model": "model",
    "status": "status",
    "outcome": "ended",
    "kind": "kind",
    "session": "session",
    "since": "from",
    "until": "before",
    "text": "text",
}


@dataclass(frozen=True, slots=True)
class Chip:
    name: str
    value: str
    without: str
    """The query string that is left when it is taken off."""


def chips(asked: QueryDict, names: dict[str, str]) -> list[Chip]:
    """*names*: what ids among the values are called."""
    given = {name: str(asked[name]) for name in NAMES if asked.get(name)}
    found = []
    for name, value in given.items():
        others = {each: kept for each, kept in given.items() if each != name}
        found.append(Chip(NAMES[name], names.get(value, value), f"?{urlencode(others)}"))
    return found
