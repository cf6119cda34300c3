"""Logs: every line of every process goes through here, as JSON in production and readable in a terminal. What looks
like a secret is cut out of the whole line, traceback included."""

import atexit
import contextlib
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import MutableMapping
from typing import Any

import msgspec
import structlog

from accounts.secret import without_secrets
from telemetry import requestid

WAITING_MAX_LINES = 10_000
"""Beyond it the oldest are dropped, and how many is said."""
FLUSH_SECONDS = 1.0
OURS = ("nexus", "proxy", "telemetry", "accounts", "dashboard")

Event = MutableMapping[str, Any]


class Writer:
    """Puts lines on the standard error. While `in_background`, a thread does: a reader that does not read holds up
    nobody else."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque(maxlen=WAITING_MAX_LINES)
        self._taken = self._given = 0
        self._told_dropped = 0
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._thread: threading.Thread | None = None

    def write(self, lines: str) -> None:
        if self._thread is None:
            with contextlib.suppress(OSError):
                _put(lines)
            return
        self._given += 1
        self._idle.clear()
        self._waiting.append(lines)
        self._wake.set()

    def in_background(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()
            atexit.register(self.flush)
            os.register_at_fork(after_in_child=self._in_foreground)

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        self._idle.wait(seconds)

    def _in_foreground(self) -> None:
        """Threads do not survive a fork."""
        self._thread = None
        self._waiting.clear()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                lines = self._waiting.popleft()
                self._taken += 1
                with contextlib.suppress(OSError):
                    _put(lines)
            self._say_dropped()
            if not self._waiting:
                self._idle.set()

    def _say_dropped(self) -> None:
        dropped = self._given - self._taken - len(self._waiting)
        if dropped > self._told_dropped:
            logging.getLogger(__name__).warning("%s log lines were dropped", dropped - self._told_dropped)
            self._told_dropped = dropped


def _put(lines: str) -> None:
    data = lines.encode("utf-8", "replace")
    while data:
        data = data[os.write(2, data) :]


writer = Writer()


class StderrHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:
            line = f"a log line of {record.name} cannot be rendered"
        writer.write(without_secrets(line) + "\n")


def bind_request(logger: Any, method: str, event: Event) -> Event:
    """A processor: whose request this is. Some lines say it themselves."""
    for name, variable in (("request_id", requestid.request_id), ("correlation_id", requestid.correlation_id)):
        value = variable.get()
        if value and not event.get(name):
            event[name] = value
    event.setdefault("request_id", "")
    return event


def _json(event: Event, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


def configuration(level: str, *, as_json: bool) -> dict[str, Any]:
    """For Django's LOGGING."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=True),
        structlog.stdlib.ExtraAdder(),
        bind_request,
    ]
    end: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if as_json:
        end += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]
    else:
        plain = structlog.dev.plain_traceback
        end += [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain, pad_event_to=0)]
    logging.captureWarnings(True)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": "structlog.stdlib.ProcessorFormatter",
                "processors": end,
                "foreign_pre_chain": shared,
            }
        },
        "handlers": {"stderr": {"()": "nexus.logs.StderrHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            **{name: {"level": level} for name in OURS},
            # It would warn of each ordinary stop of the embedded worker.
            "celery.worker.control": {"level": "ERROR"},
            # Django gives it a handler of its own, for runserver.
            "django.server": {"handlers": [], "propagate": True},
            "django": {"handlers": []},
            # It would say every request that we send.
            "httpx": {"level": "WARNING"},
            # It would say the collector's address, which may hold a token; telemetry.traces says what is wrong.
            "opentelemetry": {"level": "CRITICAL"},
        },
    }
