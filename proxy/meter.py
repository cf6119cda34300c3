"""What an answer says of itself while it passes: usage, model, how it ended. A meter gets a copy of each
chunk; it never raises, so it can neither hold up nor alter the answer."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeVar

import msgspec

from telemetry.record.exchange import BatchResults
from telemetry.record.sse import SSEDecoder, SSEEvent
from telemetry.record.usage import Usage, UsageReports

MAX_JSON_BYTES = 16 * 1024 * 1024
"""Of an answer that is not a stream. The longest possible output is a small part of it."""
REFUSAL = "refusal"
"""The stop reason of an answer that the API refused to give, or to go on with."""
TOOL_CALL_BLOCKS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
BLOCKS_WITHOUT_OUTPUT = frozenset({"fallback", "compaction"})
"""What is no word of the answer: another model took over, or what came before was summed up."""
UNNAMED = "-"
"""The category of a refusal that the API does not name."""
MAX_REFUSALS = 10


class Metered(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of one answer. Text that did not come is empty."""

    usage: Usage = Usage()
    model: str = ""
    """The one that answered; after a fallback the last."""
    message_id: str = ""
    stop_reason: str = ""
    has_output: bool = False
    """Any block of the answer itself came."""
    refusals: tuple[str, ...] = ()
    """Categories: of each model that handed over to a fallback, then of the answer where it was refused."""
    tool_calls: int = 0
    """Uses of tools on either side, the client's or the API's."""
    error_type: str = ""
    """Of an error envelope, or of an `error` event after status 200."""
    error_message: str = ""
    saw_message_stop: bool = False
    """A stream came to its proper end. Without it the answer is cut, whatever the connection said."""
    lost: bool = False
    """Too much was pending at once; what follows was not read."""
    batch_id: str = ""
    """Of the message batch that was answered, or whose results were."""
    batch_results: BatchResults | None = None

    @property
    def is_declined(self) -> bool:
        """It was refused before anything was put out."""
        return self.stop_reason == REFUSAL and not self.has_output


class Meter(Protocol):
    def feed(self, chunk: bytes) -> None: ...

    @property
    def is_cut(self) -> bool:
        """The answer began and has not come to its own end: if nothing more comes, it is not whole."""

    def finish(self, *, drained: bool = False) -> Metered:
        """The facts so far. *drained*: the client had left, and the upstream was read on."""


class NoMeter:
    """For answers that cost no tokens."""

    is_cut = False

    def feed(self, chunk: bytes) -> None:
        pass

    def finish(self, *, drained: bool = False) -> Metered:
        return Metered()


class JSONMeter:
    """For answers that come whole: messages, and errors in their place."""

    is_cut = False

    def __init__(self, max_bytes: int = MAX_JSON_BYTES) -> None:
        self._max_bytes = max_bytes
        self._chunks: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size <= self._max_bytes:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    def finish(self, *, drained: bool = False) -> Metered:
        if self._size > self._max_bytes:
            return Metered(lost=True)
        return meter_json(b"".join(self._chunks), drained=drained)


def meter_json(body: bytes | msgspec.Raw, *, drained: bool = False) -> Metered:
    """Reads a whole answer. Only the usage of a message is billed: count_tokens is free, and objects of the
    API such as sessions state their whole past usage at every look."""
    answer = _decode(_answer, body)
    if answer is None:
        return Metered()
    kind = _text(answer.type)
    if kind == "error":
        error_type, error_message = _error_facts(answer)
        return Metered(error_type=error_type, error_message=error_message)
    if kind == "message_batch":
        return Metered(batch_id=_text(answer.id))
    if kind != "message":
        return Metered()
    reports = UsageReports()
    reports.update(answer.usage)
    blocks = [block for raw in _decode(_items, answer.content) or () if (block := _decode(_block, raw))]
    kinds = [_text(block.type) for block in blocks]
    return Metered(
        usage=reports.total(drained=drained),
        model=_text(answer.model),
        message_id=_text(answer.id),
        stop_reason=_text(answer.stop_reason),
        has_output=not BLOCKS_WITHOUT_OUTPUT.issuperset(kinds),
        refusals=(*islice(_handed_over(blocks), MAX_REFUSALS), *_refused(answer)),
        tool_calls=sum(kind in TOOL_CALL_BLOCKS for kind in kinds),
    )


class StreamMeter:
    """For answers that come as server-sent events (facts/claude-api.md 4)."""

    def __init__(self) -> None:
        self._decoder = SSEDecoder()
        self._reports = UsageReports()
        self._visible_characters = 0
        self._model = ""
        self._message_id = ""
        self._stop_reason = ""
        self._has_output = False
        self._refusals: list[str] = []
        self._tool_calls = 0
        self._error_type = ""
        self._error_message = ""
        self._saw_message_start = False
        self._saw_message_stop = False

    @property
    def is_cut(self) -> bool:
        ended = self._saw_message_stop or self._error_type or self._decoder.lost
        return self._saw_message_start and not ended

    def feed(self, chunk: bytes) -> None:
        for event in self._decoder.feed(chunk):
            handle = _HANDLERS.get(event.name or _name_within(event))
            if handle is not None:
                handle(self, event.data)

    def finish(self, *, drained: bool = False) -> Metered:
        return Metered(
            usage=self._reports.total(visible_characters=self._visible_characters, drained=drained),
            model=self._model,
            message_id=self._message_id,
            stop_reason=self._stop_reason,
            has_output=self._has_output,
            refusals=tuple(self._refusals),
            tool_calls=self._tool_calls,
            error_type=self._error_type,
            error_message=self._error_message,
            saw_message_stop=self._saw_message_stop,
            lost=self._decoder.lost,
        )

    def _start_message(self, data: bytes) -> None:
        event = _decode(_event, data)
        message = _decode(_answer, event.message) if event else None
        if message is None:
            return
        self._saw_message_start = True
        self._model = _text(message.model)
        self._message_id = _text(message.id)
        self._reports.begin(message.usage)

    def _start_block(self, data: bytes) -> None:
        event = _decode(_event, data)
        block = _decode(_block, event.content_block) if event else None
        if block is None:
            return
        kind = _text(block.type)
        self._tool_calls += kind in TOOL_CALL_BLOCKS
        self._has_output |= kind not in BLOCKS_WITHOUT_OUTPUT
        if kind == "fallback":
            serving = _decode(_answer, block.to)
            self._model = (_text(serving.model) if serving else "") or self._model
            self._refuse(_category(block.trigger))

    def _count_delta(self, data: bytes) -> None:
        event = _decode(_delta_event, data)
        if event is not None:
            delta = event.delta
            self._visible_characters += len(delta.text) + len(delta.thinking) + len(delta.partial_json)

    def _update_message(self, data: bytes) -> None:
        event = _decode(_event, data)
        if event is None:
            return
        delta = _decode(_answer, event.delta)
        self._stop_reason = (_text(delta.stop_reason) if delta else "") or self._stop_reason
        for category in _refused(delta) if delta else ():
            self._refuse(category)
        self._reports.update(event.usage)

    def _refuse(self, category: str) -> None:
        if len(self._refusals) < MAX_REFUSALS:
            self._refusals.append(category)

    def _stop_message(self, data: bytes) -> None:
        self._saw_message_stop = True

    def _keep_error(self, data: bytes) -> None:
        self._error_type, self._error_message = _error_facts(_decode(_answer, data))


_HANDLERS: dict[bytes, Callable[[StreamMeter, bytes], None]] = {
    b"message_start": StreamMeter._start_message,
    b"content_block_start": StreamMeter._start_block,
    b"content_block_delta": StreamMeter._count_delta,
    b"message_delta": StreamMeter._update_message,
    b"message_stop": StreamMeter._stop_message,
    b"error": StreamMeter._keep_error,
}

# Values are read raw, each alone: one of a wrong type costs no other, and what is not read is not built.
_NULL = msgspec.Raw(b"null")


class _Answer(msgspec.Struct):
    """A message, an error envelope, or a part of one."""

    type: msgspec.Raw = _NULL
    id: msgspec.Raw = _NULL
    model: msgspec.Raw = _NULL
    stop_reason: msgspec.Raw = _NULL
    stop_details: msgspec.Raw = _NULL
    content: msgspec.Raw = _NULL
    usage: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL


class _Error(msgspec.Struct):
    type: msgspec.Raw = _NULL
    message: msgspec.Raw = _NULL


class _Event(msgspec.Struct):
    type: msgspec.Raw = _NULL
    message: msgspec.Raw = _NULL
    content_block: msgspec.Raw = _NULL
    delta: msgspec.Raw = _NULL
    usage: msgspec.Raw = _NULL


class _Block(msgspec.Struct):
    type: msgspec.Raw = _NULL
    to: msgspec.Raw = _NULL
    trigger: msgspec.Raw = _NULL


class _Details(msgspec.Struct):
    """Of a refusal, or of what made one model hand over to another."""

    category: msgspec.Raw = _NULL


class _Delta(msgspec.Struct, gc=False):
    """Read typed and in one go, as there are many; what is not of this shape is not output either."""

    text: str = ""
    thinking: str = ""
    partial_json: str = ""


class _DeltaEvent(msgspec.Struct, gc=False):
    delta: _Delta


T = TypeVar("T")

_answer = msgspec.json.Decoder(_Answer)
_error = msgspec.json.Decoder(_Error)
_event = msgspec.json.Decoder(_Event)
_block = msgspec.json.Decoder(_Block)
_details = msgspec.json.Decoder(_Details)
_items = msgspec.json.Decoder(list[msgspec.Raw])
_delta_event = msgspec.json.Decoder(_DeltaEvent)
_string = msgspec.json.Decoder(str)


def _decode(decoder: msgspec.json.Decoder[T], json: bytes | msgspec.Raw) -> T | None:
    """None where it is not JSON, or not of the decoder's shape."""
    try:
        return decoder.decode(json)
    except (ValueError, RecursionError):
        return None


def _text(raw: msgspec.Raw) -> str:
    return _decode(_string, raw) or ""


def _name_within(event: SSEEvent) -> bytes:
    """For streams without `event` lines."""
    data = _decode(_event, event.data)
    return _text(data.type).encode() if data else b""


def _handed_over(blocks: Sequence[_Block]) -> Iterator[str]:
    return (_category(block.trigger) for block in blocks if _text(block.type) == "fallback")


def _refused(answer: _Answer) -> Sequence[str]:
    return [_category(answer.stop_details)] if _text(answer.stop_reason) == REFUSAL else ()


def _category(raw: msgspec.Raw) -> str:
    details = _decode(_details, raw)
    category = _text(details.category) if details else ""
    return category if category.isidentifier() else UNNAMED


def _error_facts(envelope: _Answer | None) -> tuple[str, str]:
    """Type and message; never an empty type, so that an error that cannot be read is still one."""
    error = _decode(_error, envelope.error) if envelope else None
    if error is None:
        return "error", ""
    return _text(error.type) or "error", _text(error.message)
