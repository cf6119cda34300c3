"""An exchange in OpenTelemetry's words: the GenAI conventions (facts/ecosystem.md 2.4; they are still in development,
so that all names are here). Nothing of what was asked or answered."""

from telemetry.record.exchange import Exchange, Kind

GENAI_KINDS = frozenset({Kind.INFERENCE, Kind.QUERY_EVALUATION, Kind.QUOTA})
PROVIDER, OPERATION = "anthropic", "chat"

Value = str | int | float | bool | tuple[str, ...]


def name_of(exchange: Exchange) -> str:
    """Few different ones: no id of anything is in it."""
    if exchange.kind in GENAI_KINDS:
        return f"{OPERATION} {exchange.model}".strip()
    return f"{exchange.method} {'/'.join(exchange.path.split('/')[:3])}"


def attributes_of(exchange: Exchange, host: str, server: str) -> dict[str, Value]:
    """*host* is the domain's, *server* the API's."""
    found: dict[str, Value | None] = {
        "server.address": server,
        "http.request.method": exchange.method,
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
    if exchange.kind in GENAI_KINDS:
        found |= _genai(exchange)
    return {name: value for name, value in found.items() if value is not None}


def _genai(exchange: Exchange) -> dict[str, Value | None]:
    written = exchange.cache_write_5m_tokens + exchange.cache_write_1h_tokens
    return {
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.operation.name": OPERATION,
        "gen_ai.request.model": exchange.model,
        "gen_ai.request.stream": exchange.is_stream,
        "gen_ai.response.model": exchange.answered_model or None,
        "gen_ai.response.id": exchange.message_id or None,
        "gen_ai.response.finish_reasons": (exchange.stop_reason,) if exchange.stop_reason else None,
        # The convention counts cached tokens as input, the API does not.
        "gen_ai.usage.input_tokens": exchange.input_tokens + exchange.cache_read_tokens + written,
        "gen_ai.usage.output_tokens": exchange.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": exchange.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": written,
        "gen_ai.conversation.id": exchange.session_id or None,
        "gen_ai.response.time_to_first_chunk": None
        if exchange.first_byte_ms is None
        else exchange.first_byte_ms / 1000,
    }


def error_of(exchange: Exchange) -> str:
    """The type of its error, or nothing: a client that left is none."""
    if exchange.outcome in ("completed", "cancelled"):
        return ""
    return exchange.error_type or exchange.outcome.value
