"""What Nexus itself needs to know of a messages request. Everything else in the body is the API's to judge."""

import json
from uuid import UUID

import msgspec

from proxy.errors import InvalidRequest
from proxy.headers import Headers, text
from telemetry.record.exchange import Kind

QUOTA_PROBE_MAX_BYTES = 400
USER_ID_MAX_LENGTH = 100
_EMPTY = msgspec.Raw(b"null")


class _Message(msgspec.Struct, gc=False):
    role: str = ""
    content: msgspec.Raw = _EMPTY


class _StrictBody(msgspec.Struct):
    """The usual shape, read in one pass. What differs from it is read again, field by field."""

    model: str
    messages: list[_Message]
    stream: bool = False
    system: msgspec.Raw = _EMPTY
    metadata: msgspec.Raw = _EMPTY


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a messages request asks for."""

    model: str
    is_stream: bool
    message_count: int
    kind: Kind
    user_id: str
    """`metadata.user_id` as it came."""


class Lineage(msgspec.Struct, frozen=True):
    """Which session and agent of Claude Code a request belongs to."""

    session_id: str = ""
    agent_id: str = ""
    parent_agent_id: str = ""


_strict = msgspec.json.Decoder(_StrictBody)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list = msgspec.json.Decoder(list[msgspec.Raw])
_message = msgspec.json.Decoder(_Message)


def read(body: bytes, route_kind: Kind) -> Ask:
    """Raises InvalidRequest where the body is not a JSON object with a `model` and a list of `messages`."""
    try:
        parsed = _parse(body)
        return Ask(
            model=parsed.model,
            is_stream=parsed.stream,
            message_count=len(parsed.messages),
            kind=_kind(parsed) if route_kind is Kind.INFERENCE else route_kind,
            user_id=_user_id(parsed.metadata),
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}.") from None


def _parse(body: bytes) -> _StrictBody:
    try:
        return _strict.decode(body)
    except msgspec.ValidationError:
        return _parse_leniently(body)


def _parse_leniently(body: bytes) -> _StrictBody:
    try:
        fields = _fields.decode(body)
    except msgspec.ValidationError:
        raise InvalidRequest("The request body must be a JSON object.") from None
    model = _decoded(fields.get("model", _EMPTY))
    if not isinstance(model, str):
        raise InvalidRequest("model: give the name of a model as a string.")
    try:
        messages = _list.decode(fields.get("messages", _EMPTY))
    except msgspec.ValidationError:
        raise InvalidRequest("messages: give a list of messages.") from None
    return _StrictBody(
        model=model,
        messages=[_lenient_message(raw) for raw in messages],
        stream=_decoded(fields.get("stream", _EMPTY)) is True,
        system=fields.get("system", _EMPTY),
        metadata=fields.get("metadata", _EMPTY),
    )


def _lenient_message(raw: msgspec.Raw) -> _Message:
    try:
        return _message.decode(raw)
    except msgspec.ValidationError:
        return _Message()


def _decoded(raw: msgspec.Raw) -> object:
    return msgspec.json.decode(raw)


def _kind(body: _StrictBody) -> Kind:
    """The original's rule: a probe that says `quota`; at most one system text evaluates a query; else inference."""
    if _is_quota_probe(body.messages):
        return Kind.QUOTA
    system_texts = _count_system(body.system) + sum(message.role == "system" for message in body.messages)
    return Kind.QUERY_EVALUATION if system_texts <= 1 else Kind.INFERENCE


def _count_system(system: msgspec.Raw) -> int:
    raw = bytes(system)
    if raw.startswith(b"["):
        return len(_list.decode(raw))
    return 1 if raw.startswith(b'"') and raw != b'""' else 0


def _is_quota_probe(messages: list[_Message]) -> bool:
    for message in reversed(messages):
        if message.role == "user":
            raw = bytes(message.content)
            return len(raw) <= QUOTA_PROBE_MAX_BYTES and _text_of(raw).strip().lower() == "quota"
    return False


def _text_of(content: bytes) -> str:
    match msgspec.json.decode(content):
        case str(text):
            return text
        case [*_, {"type": "text", "text": str(text)}]:
            return text
    return ""


def _user_id(metadata: msgspec.Raw) -> str:
    match _decoded(metadata):
        case {"user_id": str(user_id)}:
            return user_id
    return ""


def lineage(headers: Headers, user_id: str) -> Lineage:
    """From Claude Code's headers, else from `metadata.user_id` (facts/claude-api.md 2.7 and 2.8)."""
    return Lineage(
        session_id=_clip(text(headers, b"x-claude-code-session-id")) or _session_in(user_id),
        agent_id=_clip(text(headers, b"x-claude-code-agent-id")),
        parent_agent_id=_clip(text(headers, b"x-claude-code-parent-agent-id")),
    )


def _session_in(user_id: str) -> str:
    if user_id.startswith("{"):
        try:
            match json.loads(user_id):
                case {"session_id": str(session_id)}:
                    return _clip(session_id)
        except (ValueError, RecursionError):
            return ""
        return ""
    _, found, session_id = user_id.rpartition("_session_")
    return session_id if found and _is_uuid(session_id) else ""


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def _clip(text: str) -> str:
    return text[:USER_ID_MAX_LENGTH]
