from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from nexus import env


@pytest.fixture(autouse=True)
def _own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test reads here is not part of Nexus's table."""
    monkeypatch.setattr(env, "VARIABLES", {})


@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), ("ON", True), ("0", False), (" no ", False), ("", True)]
)
def test_a_boolean(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("X", value)
    assert env.boolean("X", True, help="") is expected


def test_numbers_lists_and_durations(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"N": "7", "MS": "250", "S": "0.5", "L": "a, b,,c "}.items():
        monkeypatch.setenv(name, value)
    assert env.integer("N", 1, help="") == 7
    assert env.milliseconds("MS", 1, help="") == 0.25
    assert env.seconds("S", 1, help="") == 0.5
    assert env.names("L", help="") == ("a", "b", "c")
    assert env.integer("UNSET", 5, help="") == 5


@pytest.mark.parametrize(
    ("reader", "value", "words"),
    [
        (lambda: env.boolean("X", True, help=""), "maybe", ("X='maybe'", "true or false")),
        (lambda: env.integer("X", 1, help=""), "32M", ("X='32M'", "whole number")),
        (lambda: env.integer("X", 1, help="", minimum=2), "1", ("at least 2",)),
        (lambda: env.seconds("X", 1, help=""), "-1", ("X='-1'", "seconds")),
        (lambda: env.seconds("X", 1, help=""), "inf", ("X='inf'",)),
        (lambda: env.seconds("X", 1, help=""), "nan", ("X='nan'",)),
        (lambda: env.url("X", "", help=""), "ftp://h", ("X", "http")),
        (lambda: env.url("X", "", help=""), "no url", ("X", "http")),
    ],
)
def test_a_bad_value_is_told_with_its_name(
    monkeypatch: pytest.MonkeyPatch, reader: "object", value: str, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("X", value)
    with pytest.raises(ImproperlyConfigured) as raised:
        reader()  # type: ignore[operator]
    for word in words:
        assert word in str(raised.value)


def test_a_bad_url_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "mysql://user:hidden@h/db")
    with pytest.raises(ImproperlyConfigured) as raised:
        env.url("X", "", help="")
    assert "hidden" not in str(raised.value)


def test_a_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from the file\n")
    monkeypatch.setenv("X_FILE", str(file))
    assert env.secret("X", help="") == "from the file"
    monkeypatch.setenv("X", "from the variable")
    with pytest.raises(ImproperlyConfigured, match="X and X_FILE are both set"):
        env.secret("X", help="")
    monkeypatch.delenv("X_FILE")
    assert env.secret("X", help="") == "from the variable"


def test_a_file_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X_FILE", "/nonexistent/secret")
    with pytest.raises(ImproperlyConfigured, match="X_FILE='/nonexistent/secret'"):
        env.secret("X", help="")
