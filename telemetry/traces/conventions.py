"""An exchange in OpenTelemetry's words: the GenAI conventions (facts/ecosystem.md 2.4; they are still in development,
so that all names are here). Nothing of what was asked or answered."""

from accounts.secret import without_secrets
from telemetry.record.exchange import Exchange, Kind, Outcome

PROVIDER = "anthropic"
CHAT_KINDS = frozenset({Kind.INFERENCE, Kind.QUERY_EVALUATION, Kind.QUOTA})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
ROUTE_WORDS = {"v1", "messages", "count_tokens", "batches", "models", "files", "skills", "complete", "organizations"}
ROUTE_WORDS |= {"agents", "sessions", "environments", "vaults", "oauth"}
"""Any other part of a path may be an id, or whatever a client has written."""
NO_ERRORS = frozenset({Outcome.COMPLETED, Outcome.CANCELLED})
"""That a client left is none."""

Value = str | int | float | bool | tuple[str, ...]


def operation_of(exchange: Exchange) -> str:
    """Empty for what is no GenAI operation. The conventions know no counting of tokens: that word is the API's."""
    if exchange.kind in CHAT_KINDS:
        return "chat"
    return "count_tokens" if exchange.kind is Kind.COUNT_TOKENS else ""


def name_of(exchange: Exchange) -> str:
    """Few different ones: no id of anything is in it."""
    if operation := operation_of(exchange):
        return f"{operation} {without_secrets(exchange.model)}".strip()
    return f"{'HTTP' if exchange.method not in METHODS else exchange.method} {route_of(exchange.path)}"


def route_of(path: str) -> str:
    """*path* up to what is no word of the API."""
    words = path.split("/")[1:]
    strange = next((at for at, word in enumerate(words) if word not in ROUTE_WORDS), len(words))
    return "/" + "/".join(words[:strange])


def attributes_of(exchange: Exchange, host: str, server: str) -> dict[str, Value]:
    """*host* is the domain's, *server* the API's."""
    found: dict[str, Value | None] = {
        "server.address": server,
        "http.request.method": exchange.method if exchange.method in METHODS else "_OTHER",
        "http.response.status_code": exchange.status,
        "error.type": error_of(exchange) or None,
        "nexus.request_id": str(exchange.id),
        "nexus.domain": host,
        "nexus.kind": exchange.kind.value,
        "nexus.outcome": exchange.outcome.value,
        "nexus.attempts": exchange.attempts,
        "nexus.overhead_us": exchange.overhead_us,
        "nexus.upstream_request_id": exchange.upstream_request_id or None,
        "nexus.pricing": exchange.pricing.value,
        "nexus.cost_usd": None if exchange.cost is None else float(exchange.cost),
    }
    if operation := operation_of(exchange):
        found |= _asked(exchange, operation)
    if exchange.kind in CHAT_KINDS:
        found |= _answered(exchange)
    return {name: value for name, value in found.items() if value is not None}


def _asked(exchange: Exchange, operation: str) -> dict[str, Value | None]:
    """A client may call its model and its session anything."""
    return {
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.operation.name": operation,
        "gen_ai.request.model": without_secrets(exchange.model) or None,
        "gen_ai.conversation.id": without_secrets(exchange.session_id) or None,
    }


def _answered(exchange: Exchange) -> dict[str, Value | None]:
    written = exchange.cache_write_5m_tokens + exchange.cache_write_1h_tokens
    return {
        "gen_ai.request.stream": exchange.is_stream,
        "gen_ai.response.model": exchange.answered_model or None,
        "gen_ai.response.id": exchange.message_id or None,
        "gen_ai.response.finish_reasons": (exchange.stop_reason,) if exchange.stop_reason else None,
        # The convention counts cached tokens as input, the API does not.
        "gen_ai.usage.input_tokens": exchange.input_tokens + exchange.cache_read_tokens + written,
        "gen_ai.usage.output_tokens": exchange.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": exchange.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": written,
        "gen_ai.response.time_to_first_chunk": None
        if exchange.first_byte_ms is None
        else exchange.first_byte_ms / 1000,
    }


def error_of(exchange: Exchange) -> str:
    """The type of its error, or nothing."""
    return "" if exchange.outcome in NO_ERRORS else exchange.error_type or exchange.outcome.value
