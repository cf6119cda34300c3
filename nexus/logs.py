"""Logs: every line of every process is rendered here, as JSON in production and readable in a terminal. What
looks like a secret is cut out of the whole line, traceback included."""

import logging
import os
import re
import sys
import threading
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any

import msgspec
import structlog

from accounts.secret import without_secrets
from nexus.logwriter import LogWriter
from telemetry import requestid

OURS = ("nexus", "proxy", "telemetry", "accounts", "dashboard")
_ROW = re.compile(r"DETAIL:  .*?(?=\n\n(?:The above exception|During handling)|\Z)", re.DOTALL)
"""PostgreSQL quotes the row that it refused."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Event = MutableMapping[str, Any]
writer = LogWriter()
writer.say_dropped = lambda count: a_line("warning", f"{count} log lines were dropped") + "\n"
_add_fields = structlog.stdlib.ExtraAdder()
logger = logging.getLogger(__name__)


class StderrHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:
            line = _unrenderable(record, error, self.format)
        writer.write(without_secrets(line) + "\n")


def _unrenderable(record: logging.LogRecord, error: Exception, format: Any) -> str:
    """What can be said of a record whose arguments do not fit its message, or whose fields cannot be shown."""
    said = f"a log line of {record.pathname}:{record.lineno} cannot be rendered: {type(error).__name__}"
    rendered: str = format(logging.LogRecord(record.name, record.levelno, "", 0, said, None, None))
    return rendered


def add_own_fields(logger: Any, method: str, event: Event) -> Event:
    """Not what libraries attach to their records: Django's request shows its query, Celery's task its arguments."""
    is_ours = event["_record"].name.partition(".")[0] in OURS
    return _add_fields(logger, method, event) if is_ours else event


def without_rows(logger: Any, method: str, event: Event) -> Event:
    for name in ("event", "exception"):
        if "DETAIL:" in (said := str(event.get(name, ""))):
            event[name] = _ROW.sub("", said)
    return event


def bind_request(logger: Any, method: str, event: Event) -> Event:
    """A processor: whose request this is. Some lines say it themselves."""
    for name, variable in (("request_id", requestid.request_id), ("correlation_id", requestid.correlation_id)):
        value = variable.get()
        if value and not event.get(name):
            event[name] = value
    event.setdefault("request_id", "")
    return event


def in_order(logger: Any, method: str, event: Event) -> Event:
    """The keys that every line has come first."""
    first = {name: event.pop(name) for name in ("timestamp", "level", "logger", "event", "request_id")}
    return {**first, **event}


def as_json(logger: Any, method: str, event: Event) -> str:
    try:
        return msgspec.json.encode(event, enc_hook=repr).decode()
    except (UnicodeEncodeError, TypeError):  # half a surrogate pair; a key that is no string
        return msgspec.json.encode({_text(key): _text(value) for key, value in event.items()}).decode()


def _text(value: object) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()


def printable(logger: Any, method: str, event: Event) -> Event:
    """For a terminal: what a client chose, such as a path, must not move its cursor or change its colours."""
    return {key: _CONTROL.sub(_escaped, value) if isinstance(value, str) else value for key, value in event.items()}


def _escaped(found: "re.Match[str]") -> str:
    return found.group().encode("unicode_escape").decode()


def configuration(level: str, *, json_lines: bool) -> dict[str, Any]:
    """For Django's LOGGING."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso" if json_lines else "%H:%M:%S", utc=True),
        bind_request,
    ]
    for_people = [printable, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)]
    end: list[Any] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        without_rows,
        *([in_order, as_json] if json_lines else for_people),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    logging.captureWarnings(True)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": "structlog.stdlib.ProcessorFormatter",
                "processors": end,
                "foreign_pre_chain": [*shared, add_own_fields],
            }
        },
        "handlers": {"stderr": {"()": "nexus.logs.StderrHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": max(logging.WARNING, logging.getLevelName(level))},
        "loggers": {
            **{name: {"level": level} for name in OURS},
            # It would warn of each ordinary stop of the embedded worker.
            "celery.worker.control": {"level": "ERROR"},
            # Celery's pool cuts it off from the others.
            "multiprocessing": {"handlers": ["stderr"], "propagate": False},
            # Django gives it a handler of its own, for runserver.
            "django.server": {"handlers": [], "propagate": True},
            "django": {"handlers": []},
            # Of an answer below 500 the console's own line says as much.
            "django.request": {"level": "ERROR"},
            # It would say every request that we send.
            "httpx": {"level": "WARNING"},
            # It would say the collector's address, which may hold a token; telemetry.traces says what is wrong.
            "opentelemetry": {"level": "CRITICAL"},
        },
    }


def take_last_words() -> None:
    """What ends this process or one of its threads becomes a log line too, instead of a bare traceback."""
    sys.excepthook = _end_of_process
    threading.excepthook = _end_of_thread
    sys.unraisablehook = _unraisable


def _end_of_process(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        logger.critical("this process ends: %s", kind.__name__, exc_info=(kind, error, traceback))


def _end_of_thread(ended: threading.ExceptHookArgs) -> None:
    name = ended.thread.name if ended.thread else "?"
    if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
        logger.critical("the thread %s ends: %s", name, ended.exc_type.__name__, exc_info=ended.exc_value)


def _unraisable(found: "sys.UnraisableHookArgs") -> None:
    logger.error("%s: %s", found.err_msg or "an exception nobody could catch", found.object, exc_info=found.exc_value)


def a_line(level: str, message: str) -> str:
    """A sentence as a log line, where logging is not set up or cannot be used."""
    line = {
        "timestamp": structlog.processors.TimeStamper(fmt="iso", utc=True)(None, "", {})["timestamp"],
        "level": level,
        "logger": __name__,
        "event": message,
        "request_id": "",
    }
    return without_secrets(as_json(None, "", line))


def wants_json() -> bool:
    """Whether a process that could not read its settings should end in a log line: nobody sits at a terminal."""
    if sys.stderr.isatty():
        return False
    said = os.environ.get("LOG_JSON") or str(os.environ.get("DEBUG", "").lower() not in ("true", "1", "yes", "on"))
    return said.lower() in ("true", "1", "yes", "on")
