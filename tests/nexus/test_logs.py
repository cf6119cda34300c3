"""How a record becomes a line: the fixed keys, and one line of JSON whatever is in it."""

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from django.test import RequestFactory

from accounts.secret import hide
from nexus import logs
from telemetry import requestid

KEYS = ["timestamp", "level", "logger", "event", "request_id"]


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("I cannot be shown")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(logs.writer, "write", lines.append)
    return lines


def handler(*, json_lines: bool) -> logging.Handler:
    """As dictConfig makes it."""
    conf = logs.configuration("DEBUG", json_lines=json_lines)["formatters"]["line"]
    made = logs.StderrHandler()
    made.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=conf["processors"], foreign_pre_chain=conf["foreign_pre_chain"])
    )
    return made


@pytest.fixture(params=["proxy.test", "django.test"])
def logger(request: pytest.FixtureRequest) -> Iterator[logging.Logger]:
    """One of ours, and one of a library's."""
    found = logging.getLogger(request.param)
    found.handlers, found.propagate = [handler(json_lines=True)], False
    found.setLevel(logging.DEBUG)
    yield found
    found.handlers, found.propagate = [], True


def the_line(written: list[str]) -> dict[str, Any]:
    (line,) = written
    assert line.endswith("\n")
    assert line.count("\n") == 1
    read: dict[str, Any] = json.loads(line)
    assert list(read)[:5] == KEYS
    return read


def test_a_line_has_the_fixed_keys_first(logger: logging.Logger, written: list[str]) -> None:
    logger.warning("%s of %s", 1, 2)
    line = the_line(written)
    assert (line["level"], line["logger"], line["event"], line["request_id"]) == ("warning", logger.name, "1 of 2", "")
    assert len(line) == 5


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("two\nlines", ()),
        ("half a pair \ud800", ()),
        ("%s", (b"\xff\x00",)),
        ("%s", (Unshowable(),)),
        ("%d", ("no number",)),
        ("%s %s", ("one",)),
        ("\x1b[31m\x00\u2028", ()),
    ],
)
def test_it_stays_one_line_of_json(
    logger: logging.Logger, written: list[str], message: str, arguments: tuple[Any, ...]
) -> None:
    record = logger.makeRecord(logger.name, logging.ERROR, __file__, 1, message, arguments, None)
    logger.handlers[0].handle(record)  # pytest's own would stumble
    assert the_line(written)["level"] == "error"


@pytest.mark.parametrize(
    "field", [Unshowable(), "half a pair \ud800", {("a", "tuple"): 1}, {1, 2}, b"\xff", float("nan"), ValueError("x")]
)
def test_so_does_one_with_odd_fields(written: list[str], field: Any) -> None:
    own = logging.getLogger("telemetry.test")
    own.handlers, own.propagate = [handler(json_lines=True)], False
    own.error("said", extra={"field": field})
    assert the_line(written)["level"] == "error"


def test_a_traceback_is_in_its_line(logger: logging.Logger, written: list[str]) -> None:
    try:
        raise ValueError("broken") from KeyError("before")
    except ValueError:
        logger.exception("it broke")
    exception = the_line(written)["exception"]
    assert "KeyError: 'before'" in exception
    assert exception.endswith("ValueError: broken")


def test_the_row_that_postgres_quotes_stays_out(logger: logging.Logger, written: list[str]) -> None:
    quoted = "violates\nDETAIL:  Failing row contains (1, what somebody asked,\n\nin two paragraphs)."
    try:
        try:
            raise ValueError(quoted)
        except ValueError as error:
            raise RuntimeError(quoted) from error
    except RuntimeError as error:
        logger.exception("it broke: %s", error)
    line = the_line(written)
    assert "somebody" not in str(line)
    assert "paragraphs" not in str(line)
    assert "ValueError: violates" in line["exception"]
    assert "RuntimeError: violates" in line["exception"]


def test_what_a_library_attaches_stays_out(written: list[str]) -> None:
    request = RequestFactory().get("/page/?said=aside")
    for name, kept in (("django.test", False), ("proxy.test", True)):
        own = logging.getLogger(name)
        own.handlers, own.propagate = [handler(json_lines=True)], False
        own.error("said", extra={"status_code": 500, **({} if kept else {"request": request})})
        assert ("status_code" in the_line(written)) is kept
        assert "aside" not in written.pop()


def test_it_says_whose_request_it_is(logger: logging.Logger, written: list[str]) -> None:
    tokens = requestid.request_id.set("ours"), requestid.correlation_id.set("theirs")
    try:
        logger.error("said")
    finally:
        requestid.request_id.reset(tokens[0])
        requestid.correlation_id.reset(tokens[1])
    line = the_line(written)
    assert (line["request_id"], line["correlation_id"]) == ("ours", "theirs")


def test_what_should_stay_inside_is_cut_out(logger: logging.Logger, written: list[str]) -> None:
    hide('a-secret "of no known shape"')
    try:
        raise ValueError("nxs_live_fake")
    except ValueError:
        logger.exception('%s, a-secret "of no known shape", input_tokens=123456789', "sk-ant-api03-fake")
    line = the_line(written)
    assert line["event"] == "sk-ant-…, …, input_tokens=123456789"
    assert line["exception"].endswith("ValueError: nxs_live_…")


def test_structlogs_own_loggers_give_the_same_line(logger: logging.Logger, written: list[str]) -> None:
    structlog.get_logger(logger.name).error("said", tokens=7)
    line = the_line(written)
    assert (line["event"], line["logger"], line["tokens"]) == ("said", logger.name, 7)


def test_a_terminal_gets_words(written: list[str]) -> None:
    own = logging.getLogger("telemetry.test")
    own.handlers, own.propagate = [handler(json_lines=False)], False
    own.error("said \x1b[31m", extra={"path": "/\x1b[31m"})
    (line,) = written
    assert "[error    ] said" in line
    assert "\x1b" not in line


@pytest.mark.parametrize(
    ("level", "ours", "theirs"),
    [("DEBUG", 10, 30), ("INFO", 20, 30), ("WARNING", 30, 30), ("ERROR", 40, 40), ("CRITICAL", 50, 50)],
)
def test_libraries_are_as_quiet_as_we_are(level: str, ours: int, theirs: int) -> None:
    conf = logs.configuration(level, json_lines=True)
    assert logging.getLevelName(conf["loggers"]["proxy"]["level"]) == ours
    assert conf["root"]["level"] == theirs
    assert conf["loggers"]["httpx"]["level"] == "WARNING"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, True), ({"DEBUG": "true"}, False), ({"LOG_JSON": "false"}, False), ({"DEBUG": "1", "LOG_JSON": "on"}, True)],
)
def test_a_start_that_fails_speaks_json_where_nobody_looks(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: bool
) -> None:
    for name in ("DEBUG", "LOG_JSON"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert logs.wants_json() is expected


def test_a_warning_is_a_line_too() -> None:
    with warnings.catch_warnings():
        assert logging.getLogger("py.warnings").isEnabledFor(logging.WARNING)
