"""What of a usage object matters to its price, beside the counters of `telemetry.record.usage`."""

from typing import Annotated

import msgspec

from telemetry.record.usage import COUNT_MAX

MODEL_LENGTH = 200
_Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]
_Model = Annotated[str, msgspec.Meta(max_length=MODEL_LENGTH)]


class Writes(msgspec.Struct):
    ephemeral_5m_input_tokens: _Count | None = 0
    ephemeral_1h_input_tokens: _Count | None = 0


class Iteration(msgspec.Struct):
    """One call of a model within an answer; its own model may be missing on the wire (facts 4.11)."""

    type: str = ""
    model: _Model | None = None
    input_tokens: _Count | None = 0
    output_tokens: _Count | None = 0
    cache_read_input_tokens: _Count | None = 0
    cache_creation_input_tokens: _Count | None = 0
    cache_creation: Writes | None = None

    @property
    def is_attempt(self) -> bool:
        """At the answer itself; anything else, such as a compaction or an advisor's word, is beside it."""
        return self.type in ("message", "fallback_message")


class Usage(msgspec.Struct):
    iterations: list[Iteration] | None = None
    speed: str | None = None
    inference_geo: str | None = None
    service_tier: str | None = None


NOTHING = Usage()
NO_WRITES = Writes()
_usage = msgspec.json.Decoder(Usage)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_parts: dict[str, "msgspec.json.Decoder[object]"] = {
    "iterations": msgspec.json.Decoder(list[Iteration] | None),
    "speed": msgspec.json.Decoder(str | None),
    "inference_geo": msgspec.json.Decoder(str | None),
    "service_tier": msgspec.json.Decoder(str | None),
}


def read(raw: str) -> Usage:
    """Never raises."""
    if not raw:
        return NOTHING
    try:
        return _usage.decode(raw)
    except (ValueError, RecursionError):
        return _read_in_parts(raw)


def _read_in_parts(raw: str) -> Usage:
    """Each part alone: a bad one costs no other."""
    try:
        fields = _fields.decode(raw)
    except (ValueError, RecursionError):
        return NOTHING
    found = Usage()
    for name, decoder in _parts.items():
        try:
            setattr(found, name, decoder.decode(fields.get(name, b"null")))
        except (ValueError, RecursionError):
            continue
    return found
