"""Exchanges as facts, with plausible values where a test does not care."""

from datetime import UTC, datetime
from typing import Any

from accounts.ids import new_id
from telemetry.record.exchange import Bodies, Closed, Exchange, Kind, Outcome
from telemetry.record.store import store

DEFAULTS: dict[str, Any] = {
    "duration_ms": 1234,
    "first_byte_ms": 321,
    "overhead_us": 88,
    "domain_id": None,
    "client_key_id": None,
    "credential_id": None,
    "credential_source": "environment",
    "method": "POST",
    "path": "/v1/messages",
    "kind": Kind.INFERENCE,
    "is_stream": True,
    "model": "claude-haiku-4-5",
    "answered_model": "claude-haiku-4-5-20251001",
    "message_count": 3,
    "session_id": "0b5c0b3a-0000-4000-8000-000000000000",
    "agent_id": "agent",
    "parent_agent_id": "parent",
    "user_agent": "test",
    "client_address": "127.0.0.1",
    "request_bytes": 100,
    "status": 200,
    "outcome": Outcome.COMPLETED,
    "error_type": "",
    "error_message": "",
    "attempts": 1,
    "upstream_request_id": "req_01test",
    "message_id": "msg_01test",
    "stop_reason": "end_turn",
    "tool_calls": 0,
    "response_bytes": 200,
    "input_tokens": 10,
    "output_tokens": 20,
    "cache_read_tokens": 30,
    "cache_write_5m_tokens": 40,
    "cache_write_1h_tokens": 50,
    "web_search_requests": 1,
    "web_fetch_requests": 2,
    "code_execution_requests": 3,
    "usage_source": "final",
    "usage": '{"input_tokens":10}',
}


def exchange(**changes: Any) -> Exchange:
    values: dict[str, Any] = {"id": new_id(), "started_at": datetime.now(UTC)} | DEFAULTS | changes
    return Exchange(**values)


def closed(request: bytes = b"{}", response: bytes = b"{}", **changes: Any) -> Closed:
    kept = Bodies(
        request_headers=[("content-type", "application/json")],
        response_headers=[("request-id", "req_01test")],
        request=request,
        response=[response],
        request_is_whole=True,
        response_is_whole=True,
    )
    return Closed(exchange(**{"domain_id": new_id()} | changes), kept)


def stored_exchange(request: bytes = b"{}", response: bytes = b"{}", **changes: Any) -> Exchange:
    one = closed(request, response, **changes)
    assert store([one]) == 1
    return one.exchange
