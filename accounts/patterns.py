"""A domain's own patterns for redaction: regular expressions that are checked when saved and run with a time limit."""

import re
from functools import lru_cache

import regex
from django.core.exceptions import ValidationError

MAX_PATTERNS = 50
MAX_LENGTH = 500
MAX_REPEATS = 10_000
"""Repeats are unrolled when a pattern is compiled: `((a{1000}){1000}){1000}` took all memory of the machine."""

_REPEAT = re.compile(r"(\))?\s*\{\s*(\d*)\s*,?\s*(\d*)")
_ESCAPE = re.compile(r"\\.")
_CALL = re.compile(r"\(\?(?:R|[0-9]|[+-][0-9]|&|P>)")


def pattern_lines(text: str) -> tuple[str, ...]:
    """The patterns of a field with one a line; empty lines do not count."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())


@lru_cache(maxsize=512)
def compiled(pattern: str) -> "regex.Pattern[str]":
    """Raises regex.error."""
    return regex.compile(pattern)


def validate_patterns(text: str) -> None:
    """Raises ValidationError with a sentence for each line that cannot be used."""
    lines = pattern_lines(text)
    if len(lines) > MAX_PATTERNS:
        raise ValidationError(f"These are {len(lines)} patterns; {MAX_PATTERNS} is the most.")
    problems = [problem for number, line in enumerate(lines, 1) if (problem := _problem(line, number))]
    if problems:
        raise ValidationError(problems)


def _problem(pattern: str, number: int) -> str:
    if len(pattern) > MAX_LENGTH:
        return f"Pattern {number} is {len(pattern)} characters long; {MAX_LENGTH} is the most."
    if _repeats(pattern) > MAX_REPEATS:
        return f"Pattern {number}, “{pattern}”, repeats a part more than {MAX_REPEATS:,} times."
    if _CALL.search(pattern):
        return f"Pattern {number}, “{pattern}”, calls itself or a group of its own, which could go on without end."
    try:
        found = compiled(pattern).search("", timeout=1)
    except (regex.error, ValueError, OverflowError, RecursionError) as error:
        return f"Pattern {number}, “{pattern}”, is not a regular expression: {error}."
    except TimeoutError:
        return f"Pattern {number}, “{pattern}”, takes too long."
    if found:
        return f"Pattern {number}, “{pattern}”, matches nothing at all, and so would match everywhere."
    return ""


def _repeats(pattern: str) -> int:
    """How often a part may be repeated at most: as if each group that is repeated held all the others."""
    most, nested = 1, 1
    for group, *counts in _REPEAT.findall(_ESCAPE.sub("x", pattern)):
        count = max(int(count or 1) for count in counts)
        nested, most = (nested * max(count, 1), most) if group else (nested, max(most, count))
    return most * nested
