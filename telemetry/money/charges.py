"""What of an answer is billed, and how: tokens by model and by what their price depends on (facts/claude-api.md 4.14).

No prices here and no Django. Costs are linear in the counts of a charge, so that charges of one kind may be added up.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Protocol

import msgspec

from telemetry.record.usage import COUNT_MAX

LONG_PROMPT_TOKENS = 200_000
"""A prompt of more had prices of its own with some models (facts 6.4)."""
FAST, US, BATCH = "fast", "us", "batch"
"""Values of `usage.speed`, `usage.inference_geo` and `usage.service_tier` that change prices."""


class Terms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a price depends on."""

    model: str
    is_fast: bool = False
    is_us: bool = False
    is_batch: bool = False
    is_long: bool = False


class Charge(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was used under one set of terms."""

    terms: Terms
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    web_searches: int = 0

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in COUNTS)

    def __add__(self, other: "Charge") -> "Charge":
        """Of the same terms."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        return Charge(terms=self.terms, **sums)


COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "web_searches",
)


class Used(Protocol):
    """What an exchange says that it used, as fact or as row; columns mean what `Exchange` says."""

    @property
    def model(self) -> str: ...

    @property
    def answered_model(self) -> str: ...

    @property
    def input_tokens(self) -> int: ...

    @property
    def output_tokens(self) -> int: ...

    @property
    def cache_read_tokens(self) -> int: ...

    @property
    def cache_write_5m_tokens(self) -> int: ...

    @property
    def cache_write_1h_tokens(self) -> int: ...

    @property
    def web_search_requests(self) -> int: ...

    @property
    def usage(self) -> str: ...

    @property
    def is_declined(self) -> bool: ...


def charges_of(used: Used) -> list[Charge]:
    """What of an exchange is billed; empty where nothing is. Never raises: a usage that cannot be read in full is
    billed by its counters."""
    usage = _read(used.usage)
    model = used.answered_model or used.model
    searches = used.web_search_requests
    if usage.iterations:
        charges = [_of_iteration(iteration, usage, model) for iteration in usage.iterations if _is_billed(iteration)]
        if searches:
            charges.append(Charge(terms=_terms(model, usage, is_long=False), web_searches=searches))
        return [charge for charge in charges if charge]
    if used.is_declined:
        return []
    prompt = used.input_tokens + used.cache_read_tokens + used.cache_write_5m_tokens + used.cache_write_1h_tokens
    charge = Charge(
        terms=_terms(model, usage, is_long=prompt > LONG_PROMPT_TOKENS),
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        cache_read_tokens=used.cache_read_tokens,
        cache_write_5m_tokens=used.cache_write_5m_tokens,
        cache_write_1h_tokens=used.cache_write_1h_tokens,
        web_searches=searches,
    )
    return [charge] if charge else []


def added_up(charges: Iterable[Charge]) -> list[Charge]:
    """One charge for each set of terms."""
    sums: dict[Terms, Charge] = {}
    for charge in charges:
        before = sums.get(charge.terms)
        sums[charge.terms] = charge if before is None else before + charge
    return list(sums.values())


_Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]


class _Writes(msgspec.Struct):
    ephemeral_5m_input_tokens: _Count = 0
    ephemeral_1h_input_tokens: _Count = 0


class _Iteration(msgspec.Struct):
    """One call of a model within an answer; its own model may be missing on the wire (facts 4.11)."""

    type: str = ""
    model: str | None = None
    input_tokens: _Count | None = 0
    output_tokens: _Count | None = 0
    cache_read_input_tokens: _Count | None = 0
    cache_creation_input_tokens: _Count | None = 0
    cache_creation: _Writes | None = None


class _Usage(msgspec.Struct):
    iterations: list[_Iteration] | None = None
    speed: str | None = None
    inference_geo: str | None = None
    service_tier: str | None = None


_NOTHING = _Usage()
_usage = msgspec.json.Decoder(_Usage)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_parts: dict[str, "msgspec.json.Decoder[object]"] = {
    "iterations": msgspec.json.Decoder(list[_Iteration] | None),
    "speed": msgspec.json.Decoder(str | None),
    "inference_geo": msgspec.json.Decoder(str | None),
    "service_tier": msgspec.json.Decoder(str | None),
}


def _read(raw: str) -> _Usage:
    if not raw:
        return _NOTHING
    try:
        return _usage.decode(raw)
    except (ValueError, RecursionError):
        return _read_in_parts(raw)


def _read_in_parts(raw: str) -> _Usage:
    """Each part alone: a bad one costs no other."""
    try:
        fields = _fields.decode(raw)
    except (ValueError, RecursionError):
        return _NOTHING
    found = _Usage()
    for name, decoder in _parts.items():
        try:
            setattr(found, name, decoder.decode(fields.get(name, b"null")))
        except (ValueError, RecursionError):
            continue
    return found


def _terms(model: str, usage: _Usage, *, is_long: bool) -> Terms:
    return Terms(
        model=model,
        is_fast=usage.speed == FAST,
        is_us=usage.inference_geo == US,
        is_batch=usage.service_tier == BATCH,
        is_long=is_long,
    )


def _is_billed(iteration: _Iteration) -> bool:
    """An attempt that was declined before any output is free (facts 4.14 d)."""
    is_attempt = iteration.type in ("message", "fallback_message")
    return not is_attempt or bool(iteration.output_tokens)


def _of_iteration(iteration: _Iteration, usage: _Usage, model: str) -> Charge:
    writes = iteration.cache_creation or _Writes()
    write_1h = writes.ephemeral_1h_input_tokens
    total = max(iteration.cache_creation_input_tokens or 0, writes.ephemeral_5m_input_tokens + write_1h)
    read, fresh = iteration.cache_read_input_tokens or 0, iteration.input_tokens or 0
    return Charge(
        terms=_terms(iteration.model or model, usage, is_long=fresh + read + total > LONG_PROMPT_TOKENS),
        input_tokens=fresh,
        output_tokens=iteration.output_tokens or 0,
        cache_read_tokens=read,
        cache_write_5m_tokens=total - write_1h,  # what is not split counts as 5 minutes (facts 4.14 g)
        cache_write_1h_tokens=write_1h,
    )


def models_of(charges: Sequence[Charge]) -> list[str]:
    return sorted({charge.terms.model for charge in charges})
