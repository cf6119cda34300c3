"""Which models a domain or a client key may use, and what becomes of one that has no price."""

import re
from enum import StrEnum

from django.core.exceptions import ValidationError

MAX_PATTERNS = 100
MAX_LENGTH = 200
_ODD = re.compile(r"[^\w.:@/*-]")


class Unpriced(StrEnum):
    """What to do with a request for a model that has no price."""

    ASSUME = "assume"
    REFUSE = "refuse"

    @property
    def label(self) -> str:
        return {
            Unpriced.ASSUME: "let it pass; budgets count it at the dearest known price of its family",
            Unpriced.REFUSE: "refuse it",
        }[self]


def model_patterns(text: str) -> tuple[str, ...]:
    """The patterns of a field with one a line; empty lines do not count."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def validate_model_patterns(text: str) -> None:
    """Raises ValidationError with a sentence for each line that cannot be the name of a model."""
    patterns = model_patterns(text)
    if len(patterns) > MAX_PATTERNS:
        raise ValidationError(f"These are {len(patterns)} models; {MAX_PATTERNS} is the most.")
    problems = [problem for pattern in patterns if (problem := _problem(pattern))]
    if problems:
        raise ValidationError(problems)


def validate_model_pattern(pattern: str) -> None:
    """Raises ValidationError where one pattern cannot be the name of a model."""
    if problem := _problem(pattern):
        raise ValidationError(problem)


def _problem(pattern: str) -> str:
    if len(pattern) > MAX_LENGTH:
        return f"“{pattern[:40]}…” is longer than {MAX_LENGTH} characters."
    if odd := _ODD.search(pattern):
        return f"“{pattern}” holds “{odd.group()}”, which no model's name does. * stands for any characters."
    return ""
