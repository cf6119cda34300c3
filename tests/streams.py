"""Streams as the Messages API sends them, in bytes: JSON on one line, with spaces before its last brace
(facts/claude-api.md 4). Each is also there as a list of events, to be cut and changed."""

import json
from typing import Any

MODEL = "claude-opus-4-6"
FALLBACK_MODEL = "claude-opus-4-5"

Event = dict[str, Any]


def render(events: list[Event]) -> bytes:
    return b"".join(render_event(event, padding=index * 7 % 16) for index, event in enumerate(events))


def render_event(event: Event, padding: int = 0) -> bytes:
    data = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
    return f"event: {event['type']}\ndata: {data[:-1]}{' ' * padding}}}\n\n".encode()


def message_start(**usage: Any) -> Event:
    reported = {
        "input_tokens": 25,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 1,
        "service_tier": "standard",
        "inference_geo": "not_available",
    }
    message: Event = {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": reported | usage,
    }
    return {"type": "message_start", "message": message}


def block(index: int, start: Event, *deltas: Event) -> list[Event]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, *pieces: str) -> list[Event]:
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": p} for p in pieces))


def tool(index: int, *pieces: str, kind: str = "tool_use", name: str = "get_weather", **more: Any) -> list[Event]:
    start = {"type": kind, "id": f"toolu_{index}", "name": name, "input": {}, **more}
    return block(index, start, *({"type": "input_json_delta", "partial_json": piece} for piece in pieces))


def message_delta(stop_reason: Any, *, usage: Any, beside: Event | None = None, **delta: Any) -> Event:
    changed = {"stop_reason": stop_reason, "stop_sequence": None, **delta}
    return {"type": "message_delta", "delta": changed, "usage": usage, **(beside or {})}


PING: Event = {"type": "ping"}
STOP: Event = {"type": "message_stop"}

_GREETING = text(0, "Hello", ", wörld 🌍", '!\nIt is "quoted" \\ and \u2028 odd.')
TEXT = [
    message_start(),
    *_GREETING[:2],
    PING,
    *_GREETING[2:],
    message_delta("end_turn", usage={"output_tokens": 15}),
    STOP,
]

THINKING = [
    message_start(),
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Let me see. "},
        {"type": "thinking_delta", "thinking": "925 = 5² · 37."},
        {"type": "signature_delta", "signature": "EqQBCgIYAhIM1gbcDa9GJwZA2b3h=="},
    ),
    *text(1, "37 is prime."),
    message_delta(
        "end_turn",
        usage={"output_tokens": 200, "output_tokens_details": {"thinking_tokens": 180}},
    ),
    STOP,
]

OMITTED_THINKING = [
    message_start(),
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "signature_delta", "signature": "EosnCkYICxIMMb3LzNrMu="},
    ),
    *text(1, "Done."),
    message_delta("end_turn", usage={"output_tokens": 90}),
    STOP,
]

REDACTED_THINKING = [
    message_start(),
    *block(0, {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix/LafPsn4aDFIT2Xlxh0L5L8rLVyIw"}),
    *text(1, "I cannot show that."),
    message_delta("end_turn", usage={"output_tokens": 40}),
    STOP,
]

TOOL_USE = [
    message_start(
        input_tokens=3,
        cache_creation_input_tokens=400,
        cache_read_input_tokens=12_000,
        cache_creation={"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 300},
        output_tokens=26,
    ),
    *text(0, "I will look."),
    *tool(1, "", '{"loca', 'tion": "San Fra', 'ncisco, CA", "d', 'ays": 3, "units": ["c", "f"]}'),
    *tool(2, "", name="list_cities"),
    message_delta(
        "tool_use",
        usage={
            "input_tokens": 3,
            "cache_creation_input_tokens": 400,
            "cache_read_input_tokens": 12_000,
            "output_tokens": 89,
        },
    ),
    STOP,
]

WEB_SEARCH = [
    message_start(server_tool_use={"web_search_requests": 0, "web_fetch_requests": 0}),
    *tool(0, "", '{"query":', ' "weather NYC"}', kind="server_tool_use", name="web_search"),
    *block(
        1,
        {
            "type": "web_search_tool_result",
            "tool_use_id": "toolu_0",
            "caller": {"type": "direct"},
            "content": [
                {
                    "type": "web_search_result",
                    "title": "Weather",
                    "url": "https://example.com/nyc",
                    "encrypted_content": "Eo8PCioIBRgCIiQ3",
                    "page_age": None,
                }
            ],
        },
    ),
    *block(
        2,
        {"type": "text", "text": "", "citations": []},
        {"type": "text_delta", "text": "It is sunny"},
        {
            "type": "citations_delta",
            "citation": {
                "type": "web_search_result_location",
                "cited_text": "Sunny, 20 degrees",
                "url": "https://example.com/nyc",
                "title": "Weather",
                "encrypted_index": "Eo8BCioIAhgB",
            },
        },
    ),
    message_delta(
        "end_turn",
        usage={
            "input_tokens": 10_682,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 510,
            "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 2},
        },
    ),
    STOP,
]

CITATIONS = [
    message_start(),
    *block(
        0,
        {"type": "text", "text": "", "citations": None},
        {"type": "text_delta", "text": "The grass is green"},
        *(
            {
                "type": "citations_delta",
                "citation": {
                    "type": "char_location",
                    "cited_text": cited,
                    "document_index": 0,
                    "document_title": None,
                    "start_char_index": 0,
                    "end_char_index": len(cited),
                    "file_id": None,
                },
            }
            for cited in ("The grass is green.", "Green it is.")
        ),
    ),
    message_delta("end_turn", usage={"output_tokens": 30}),
    STOP,
]

REFUSAL = [
    message_start(),
    *text(0, "I"),
    message_delta(
        "refusal",
        usage={"output_tokens": 4},
        stop_details={"type": "refusal", "category": "bio", "explanation": "Not this."},
    ),
    STOP,
]

SEVERAL_MESSAGE_DELTAS = [
    message_start(cache_read_input_tokens=5),
    *text(0, "one"),
    message_delta(None, usage={"output_tokens": 3, "input_tokens": None}),
    *text(1, "two"),
    message_delta("stop_sequence", usage={"output_tokens": 9}, stop_sequence="END"),
    STOP,
]

CUT_TOOL_INPUT = [
    message_start(),
    *tool(0, "", '{"lines_of_text": ["one", "two', name="make_file"),
    message_delta("max_tokens", usage={"output_tokens": 450}),
    STOP,
]

MIDSTREAM_ERROR = [
    message_start(),
    *text(0, "Half an ans")[:-1],
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"},
]

CONTAINER = [
    message_start(),
    *tool(0, '{"code": "print(1)"}', kind="server_tool_use", name="code_execution"),
    message_delta(
        "pause_turn",
        usage={"output_tokens": 44},
        container={"id": "container_1", "expires_at": "2026-08-01T00:00:00Z"},
    ),
    STOP,
]

UNKNOWN = [
    message_start(),
    {"type": "weather_report", "index": 0, "sky": "clear"},
    *block(
        0,
        {"type": "text", "text": ""},
        {"type": "text_delta", "text": "Still here"},
        {"type": "aroma_delta", "aroma": "coffee"},
        {"type": "text_delta", "text": "."},
    ),
    message_delta("end_turn", usage={"output_tokens": 8, "brand_new_tokens": 2}),
    STOP,
]

COMPACTION = [
    message_start(),
    *block(
        0,
        {"type": "compaction", "content": None, "encrypted_content": None},
        {"type": "compaction_delta", "content": "So far: all well.", "encrypted_content": "opaque"},
    ),
    *text(1, "Go on."),
    message_delta(
        "end_turn",
        usage={
            "input_tokens": 23_000,
            "output_tokens": 1_000,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "iterations": [
                {
                    "type": "compaction",
                    "input_tokens": 180_000,
                    "output_tokens": 3_500,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                    "cache_creation": None,
                },
                {
                    "type": "message",
                    "model": MODEL,
                    "input_tokens": 23_000,
                    "output_tokens": 1_000,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                    "cache_creation": None,
                },
            ],
        },
        beside={"context_management": {"applied_edits": []}},
    ),
    STOP,
]

FALLBACK = [
    message_start(),
    *text(0, "Well, "),
    *block(
        1,
        {
            "type": "fallback",
            "from": {"model": MODEL},
            "to": {"model": FALLBACK_MODEL},
            "trigger": {"type": "refusal", "category": "cyber"},
        },
    ),
    *tool(2, '{"q": 1}', kind="mcp_tool_use", name="ask", server_name="docs"),
    message_delta(
        "end_turn",
        usage={"input_tokens": 30, "output_tokens": 70, "fallback_credit": {"status": {"type": "redeemed"}}},
        beside={"input_transformations": []},
    ),
    STOP,
]

EVENTS: dict[str, list[Event]] = {
    "text": TEXT,
    "thinking": THINKING,
    "omitted thinking": OMITTED_THINKING,
    "redacted thinking": REDACTED_THINKING,
    "tool use": TOOL_USE,
    "web search": WEB_SEARCH,
    "citations": CITATIONS,
    "refusal": REFUSAL,
    "several message deltas": SEVERAL_MESSAGE_DELTAS,
    "cut tool input": CUT_TOOL_INPUT,
    "mid-stream error": MIDSTREAM_ERROR,
    "container": CONTAINER,
    "unknown": UNKNOWN,
    "compaction": COMPACTION,
    "fallback": FALLBACK,
}
STREAMS = {name: render(events) for name, events in EVENTS.items()}
STREAMS["CRLF"] = STREAMS["text"].replace(b"\n", b"\r\n")
