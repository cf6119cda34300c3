"""Families of models, by their names: `claude-3-5-haiku-20241022` and `claude-haiku-4-5` are both of `haiku`."""

import re

_WORD = re.compile(r"[a-z]+")
_NO_FAMILY = frozenset({"claude", "anthropic", "latest", "preview", "beta", "global", "us", "eu", "apac", "v"})


def family_of(model: str) -> str:
    """Empty for a name in which there is none."""
    words = _WORD.findall(model.lower())
    return next((word for word in words if word not in _NO_FAMILY), "")
