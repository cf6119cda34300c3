import time

import pytest
from django.core.exceptions import ValidationError

from accounts.patterns import MAX_LENGTH, MAX_PATTERNS, compiled, pattern_lines, validate_patterns


def problems(text: str) -> list[str]:
    with pytest.raises(ValidationError) as raised:
        validate_patterns(text)
    return list(raised.value.messages)


def test_a_pattern_a_line_and_empty_lines_do_not_count() -> None:
    assert pattern_lines(" EMP-\\d{6}\r\n\n  \n(?i)nightingale ") == ("EMP-\\d{6}", "(?i)nightingale")
    assert pattern_lines("") == ()


@pytest.mark.parametrize(
    "pattern",
    [
        r"EMP-\d{6}",
        r"(?i)project\s+nightingale",
        r"\b\d{3}-\d{2}-\d{4}\b",
        r"(?<=id: )\w+",
        r"([0-9A-F]{20}-){3}[0-9A-F]{20}",
        r"\d{20}-\d{20}-\d{20}-\d{20}",
        r"(a)?(?(1)b|c)",
        r"\{1000000\}",
        "x" * MAX_LENGTH,
    ],
)
def test_what_people_write_is_taken(pattern: str) -> None:
    validate_patterns(pattern)
    assert compiled(pattern) is compiled(pattern)


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("(", "is not a regular expression: missing )"),
        ("a{2,1}", "is not a regular expression"),
        ("(?V0)(?V1)a", "is not a regular expression"),
        ("a*", "matches nothing at all, and so would match everywhere"),
        ("|a", "matches nothing at all"),
        ("a{10001}", "repeats a part more than 10,000 times"),
        ("a{1,100000000}", "repeats a part more than 10,000 times"),
        ("((a{1000}){1000}){1000}", "repeats a part more than 10,000 times"),
        ("(?x)((a{100}) {100} ) {100}", "repeats a part more than 10,000 times"),
        ("(?R)", "calls itself"),
        ("(?1)(a)", "calls itself or a group"),
        ("(?P<x>a(?&x))", "calls itself or a group"),
        ("x" * (MAX_LENGTH + 1), f"is {MAX_LENGTH + 1} characters long; {MAX_LENGTH} is the most"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence_and_at_once(pattern: str, problem: str) -> None:
    started = time.perf_counter()
    (sentence,) = problems(pattern)
    assert time.perf_counter() - started < 1
    assert sentence.startswith("Pattern 1")
    assert problem in sentence
    assert sentence.endswith(".")


def test_each_line_that_is_wrong_is_named() -> None:
    first, second = problems("(\nfine\n\na*")
    assert first.startswith("Pattern 1, “(”")
    assert second.startswith("Pattern 3, “a*”")


def test_there_is_a_most() -> None:
    validate_patterns("a\n" * MAX_PATTERNS)
    assert problems("a\n" * (MAX_PATTERNS + 1)) == [
        f"These are {MAX_PATTERNS + 1} patterns; {MAX_PATTERNS} is the most."
    ]
