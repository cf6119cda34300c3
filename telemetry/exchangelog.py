"""One log line for each exchange, with the same keys every time. Told by the sinks' thread, a batch at a time."""

import functools
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from accounts.facts import Snapshot
from accounts.secret import without_secrets
from telemetry.naming import Names
from telemetry.record.exchange import Exchange, Outcome

logger = logging.getLogger("nexus.exchange")
BAD = frozenset({Outcome.UPSTREAM_FAILED, Outcome.BROKEN})
CHOSEN_BY_OTHERS = (
    *("correlation_id", "method", "path", "model", "answered_model", "error_type", "stop_reason", "session_id"),
    *("upstream_request_id", "domain", "client_key", "credential"),
)
COLORS = {logging.INFO: 32, logging.WARNING: 33, logging.ERROR: 31}
Write = Callable[[str], None]


class ExchangeLog:
    """A sink. `write` takes whole lines; `as_json` chooses between one object and one line for people."""

    def __init__(self, snapshot: Callable[[], Snapshot], write: Write, *, as_json: bool, colors: bool = False) -> None:
        self._names = Names(snapshot)
        self._write = write
        self._render = _as_json if as_json else functools.partial(_for_people, colors=colors)

    def __call__(self, exchanges: Sequence[Exchange]) -> None:
        self._names.learn()
        lines = [
            self._line(level, self._facts(exchange))
            for exchange in exchanges
            if logger.isEnabledFor(level := level_of(exchange))
        ]
        if lines:
            self._write("".join(lines))

    def _line(self, level: int, facts: dict[str, Any]) -> str:
        """A client may call its model anything. To look through the whole line would cost three times the rendering."""
        chosen = " ".join([facts[name] or "" for name in CHOSEN_BY_OTHERS])
        is_clean = without_secrets(chosen) == chosen
        line = self._render(level, facts)
        return line if is_clean else without_secrets(line)

    def _facts(self, exchange: Exchange) -> dict[str, Any]:
        """The keys are fixed: docs/logs.md lists them. Nothing here says what was asked or answered."""
        return {
            "timestamp": exchange.started_at + timedelta(milliseconds=exchange.duration_ms),
            "event": "exchange",
            "request_id": str(exchange.id),
            "correlation_id": exchange.correlation_id,
            "domain": self._names.of(exchange.domain_id),
            "client_key": self._names.of(exchange.client_key_id),
            "credential": self._names.of(exchange.credential_id),
            "credential_source": exchange.credential_source,
            "method": exchange.method,
            "path": exchange.path,
            "kind": exchange.kind.value,
            "is_stream": exchange.is_stream,
            "model": exchange.model,
            "answered_model": exchange.answered_model,
            "status": exchange.status,
            "outcome": exchange.outcome.value,
            "error_type": exchange.error_type,
            "refused_by": exchange.refused_by,
            "waited_ms": exchange.waited_ms,
            "attempts": exchange.attempts,
            "duration_ms": exchange.duration_ms,
            "first_byte_ms": exchange.first_byte_ms,
            "overhead_us": exchange.overhead_us,
            "input_tokens": exchange.input_tokens,
            "output_tokens": exchange.output_tokens,
            "cache_read_tokens": exchange.cache_read_tokens,
            "cache_write_5m_tokens": exchange.cache_write_5m_tokens,
            "cache_write_1h_tokens": exchange.cache_write_1h_tokens,
            "usage_source": exchange.usage_source,
            "cost_usd": exchange.cost,
            "pricing": exchange.pricing.value,
            "stop_reason": exchange.stop_reason,
            "session_id": exchange.session_id,
            "upstream_request_id": exchange.upstream_request_id,
            "request_bytes": exchange.request_bytes,
            "response_bytes": exchange.response_bytes,
        }


def level_of(exchange: Exchange) -> int:
    if exchange.outcome is Outcome.FAILED:
        return logging.ERROR
    is_bad = exchange.outcome in BAD or (exchange.status or 0) >= 500
    return logging.WARNING if is_bad else logging.INFO


def _as_json(level: int, facts: dict[str, Any]) -> str:
    first = {
        "timestamp": _time(facts["timestamp"]),
        "level": logging.getLevelName(level).lower(),
        "logger": logger.name,
    }
    del facts["timestamp"]
    return msgspec.json.encode({**first, **facts}).decode() + "\n"


def _for_people(level: int, facts: dict[str, Any], *, colors: bool = False) -> str:
    """In columns, as the lines of the other loggers are."""
    name = f"{logging.getLevelName(level).lower():<9}"
    shown = f"\x1b[{COLORS[level]}m{name}\x1b[0m" if colors else name
    given = facts["input_tokens"] + facts["cache_read_tokens"]
    given += facts["cache_write_5m_tokens"] + facts["cache_write_1h_tokens"]
    cost = f"${facts['cost_usd']:.4f}" if facts["cost_usd"] else facts["pricing"]
    chosen = (facts["domain"], facts["path"], facts["answered_model"] or facts["model"], facts["error_type"])
    said = " ".join(str(each or "-") for each in chosen).encode("unicode_escape").decode()
    return (
        f"{facts['timestamp']:%H:%M:%S} [{shown}] {facts['method']:<4.8} {facts['status'] or '---'} "
        f"{facts['outcome']:<15} {facts['duration_ms']:>6} ms {given:>8,} in {facts['output_tokens']:>6,} out "
        f"{cost:>8}  {said}  {facts['request_id']}\n"
    )


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
