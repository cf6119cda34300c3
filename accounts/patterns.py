"""A domain's own patterns for redaction: regular expressions that are checked when saved and run with a time limit."""

from functools import lru_cache

import regex
from django.core.exceptions import ValidationError

MAX_PATTERNS = 50
MAX_LENGTH = 500


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
    try:
        found = compiled(pattern)
    except regex.error as error:
        return f"Pattern {number}, “{pattern}”, is not a regular expression: {error}."
    if found.search(""):
        return f"Pattern {number}, “{pattern}”, matches nothing at all, and so would match everywhere."
    return ""
