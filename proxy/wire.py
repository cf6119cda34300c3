"""What Nexus itself needs to know of a messages request. Everything else in the body is the API's to judge."""

import json
from typing import TypeVar
from uuid import UUID

import msgspec

from proxy.errors import InvalidRequest
from proxy.headers import Headers, text
from telemetry.record.exchange import Kind

QUOTA_PROBE_MAX_BYTES = 400
USER_ID_MAX_LENGTH = 100
UNSAID_MAX_TOKENS = 10**9
"""Where it is no plain number the API may still take it for one."""
PERSON_MAX_LENGTH = 200
SCALAR_MAX_BYTES = 4096
T = TypeVar("T")
_EMPTY = msgspec.Raw(b"null")


# Decoding stops at the first element that is not of its shape: a body of millions of tiny ones builds nothing.


class _Message(msgspec.Struct, gc=False):
    role: str
    content: msgspec.Raw


class _SystemBlock(msgspec.Struct, gc=False):
    type: str


class _Metadata(msgspec.Struct):
    user_id: msgspec.Raw = _EMPTY


class _LooseBody(msgspec.Struct):
    model: msgspec.Raw = _EMPTY
    messages: msgspec.Raw = _EMPTY
    stream: msgspec.Raw = _EMPTY
    system: msgspec.Raw = _EMPTY
    metadata: msgspec.Raw = _EMPTY
    max_tokens: msgspec.Raw = _EMPTY


class _StrictBody(msgspec.Struct):
    """The usual shape, read in one pass. What differs from it is read again, field by field."""

    model: str
    messages: list[_Message]
    stream: bool = False
    system: msgspec.Raw = _EMPTY
    metadata: msgspec.Raw = _EMPTY
    max_tokens: msgspec.Raw = _EMPTY


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a messages request asks for."""

    model: str
    is_stream: bool
    message_count: int
    kind: Kind
    user_id: str
    """`metadata.user_id` as it came."""
    max_tokens: int = 0
    """The longest answer, in tokens; 0: it does not say."""
    opening: msgspec.Raw = _EMPTY
    """The content of the first message: as long as a conversation goes on it stays the same."""


class Lineage(msgspec.Struct, frozen=True):
    """Which session and agent of Claude Code a request belongs to."""

    session_id: str = ""
    agent_id: str = ""
    parent_agent_id: str = ""


NOTHING_ASKED = Ask(model="", is_stream=False, message_count=0, kind=Kind.OTHER, user_id="")
_strict = msgspec.json.Decoder(_StrictBody)
_loose = msgspec.json.Decoder(_LooseBody)
_messages = msgspec.json.Decoder(list[_Message])
_system_blocks = msgspec.json.Decoder(list[_SystemBlock])
_metadata = msgspec.json.Decoder(_Metadata)


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
            max_tokens=_max_tokens(parsed.max_tokens),
            opening=parsed.messages[0].content if parsed.messages else _EMPTY,
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
        fields = _loose.decode(body)
    except msgspec.ValidationError:
        raise InvalidRequest("The request body must be a JSON object.") from None
    model = _scalar(fields.model)
    if not isinstance(model, str):
        raise InvalidRequest("model: give the name of a model as a string.")
    if not bytes(memoryview(fields.messages)[:1]) == b"[":
        raise InvalidRequest("messages: give a list of messages.")
    return _StrictBody(
        model=model,
        messages=_decoded(_messages, fields.messages, []),
        stream=_scalar(fields.stream) is True,
        system=fields.system,
        metadata=fields.metadata,
        max_tokens=fields.max_tokens,
    )


def _decoded(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw, otherwise: T) -> T:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        return otherwise


def _scalar(raw: msgspec.Raw) -> object:
    """A short value; None for what is too long to be one."""
    return msgspec.json.decode(raw) if len(memoryview(raw)) <= SCALAR_MAX_BYTES else None


def _kind(body: _StrictBody) -> Kind:
    """The original's rule: a probe that says `quota`; at most one system text evaluates a query; else inference."""
    if _is_quota_probe(body.messages):
        return Kind.QUOTA
    system_texts = _count_system(body.system) + sum(message.role == "system" for message in body.messages)
    return Kind.QUERY_EVALUATION if system_texts <= 1 else Kind.INFERENCE


def _count_system(system: msgspec.Raw) -> int:
    raw = bytes(system)
    if raw.startswith(b"["):
        return len(_decoded(_system_blocks, system, []))
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
    user_id = _scalar(_decoded(_metadata, metadata, _Metadata()).user_id)
    return user_id if isinstance(user_id, str) else ""


def _max_tokens(raw: msgspec.Raw) -> int:
    said = bytes(raw)
    if said.isdigit() and len(said) < 10:
        return int(said)
    return 0 if said == b"null" else UNSAID_MAX_TOKENS


def person(user_id: str) -> str:
    """Of `metadata.user_id` what stays the same from session to session (facts/claude-api.md 2.8)."""
    if user_id.startswith("{"):
        try:
            match json.loads(user_id):
                case {"account_uuid": str(account)} if account:
                    return _clip(account)
                case {"device_id": str(device)} if device:
                    return _clip(device)
        except (ValueError, RecursionError):
            pass
    return user_id.partition("_session_")[0][:PERSON_MAX_LENGTH]


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
