"""What of an answer is billed, and how: tokens by model and by what their price depends on (facts/claude-api.md 4.14).

No prices here and no Django. Costs are linear in the counts of a charge, so that charges of one kind may be added up.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec

from telemetry.money.reported import NO_WRITES, Iteration, Usage, read
from telemetry.record.usage import UsageSource

PROMPT_STEPS = (200_000, 100_000)
"""Tokens of a prompt above which some models have other prices (facts 6.4; Claude Haiku 5.5), the highest first."""
FAST, US, BATCH = "fast", "us", "batch"
"""Values of `usage.speed`, `usage.inference_geo` and `usage.service_tier` that change prices."""
BILLED_REFUSALS = frozenset({"bio", "frontier_llm", "reasoning_extraction"})
"""Categories of refusals that are billed also before any output: since September 2026, says the API's page "Refusals
and fallback". Before, and in any other category, nothing is billed (facts 4.14 e)."""


class Terms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a price depends on."""

    model: str
    is_fast: bool = False
    is_us: bool = False
    is_batch: bool = False
    prompt_over: int = 0
    """The step of `PROMPT_STEPS` that the prompt is above."""


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
        tokens = self.input_tokens or self.output_tokens or self.cache_read_tokens
        return bool(tokens or self.cache_write_5m_tokens or self.cache_write_1h_tokens or self.web_searches)

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
    def usage_source(self) -> str: ...

    @property
    def usage(self) -> str: ...

    @property
    def is_declined(self) -> bool: ...

    @property
    def refusals(self) -> str: ...


def charges_of(used: Used) -> list[Charge]:
    """What of an exchange is billed; empty where nothing is. Never raises: a usage that cannot be read in full is
    billed by its counters."""
    usage = read(used.usage)
    if usage.iterations:
        charges = _of_iterations(used, usage, usage.iterations)
    elif _is_free(used):
        charges = []
    else:
        charges = [_of_counters(used, usage)]
    return [charge for charge in charges if charge]


def step_of(prompt_tokens: int) -> int:
    """The step of `PROMPT_STEPS` that a prompt is above; 0 for most."""
    for step in PROMPT_STEPS:
        if prompt_tokens > step:
            return step
    return 0


def added_up(charges: Iterable[Charge]) -> list[Charge]:
    """One charge for each set of terms."""
    sums: dict[Terms, Charge] = {}
    for charge in charges:
        before = sums.get(charge.terms)
        sums[charge.terms] = charge if before is None else before + charge
    return list(sums.values())


def models_of(charges: Sequence[Charge]) -> list[str]:
    return sorted({charge.terms.model for charge in charges})


# --- Without iterations: by the counters ------------------------------------------------------------------------------


def _of_counters(used: Used, usage: Usage) -> Charge:
    write_5m, write_1h = used.cache_write_5m_tokens, used.cache_write_1h_tokens
    fresh, read = used.input_tokens, used.cache_read_tokens
    return Charge(
        terms=_terms(used.answered_model or used.model, usage, fresh + read + write_5m + write_1h),
        input_tokens=fresh,
        output_tokens=used.output_tokens,
        cache_read_tokens=read,
        cache_write_5m_tokens=write_5m,
        cache_write_1h_tokens=write_1h,
        web_searches=used.web_search_requests,
    )


def _is_free(used: Used) -> bool:
    """Declined before any output, and not in a category that is billed all the same."""
    return used.is_declined and used.refusals.rpartition(",")[2] not in BILLED_REFUSALS


def _terms(model: str, usage: Usage, prompt_tokens: int, *, is_fast: bool | None = None) -> Terms:
    return Terms(
        model=model,
        is_fast=usage.speed == FAST if is_fast is None else is_fast,
        is_us=usage.inference_geo == US,
        is_batch=usage.service_tier == BATCH,
        prompt_over=step_of(prompt_tokens),
    )


# --- With iterations: each at its own model's prices (facts 4.14 b to d) ----------------------------------------------


class _Hop(msgspec.Struct):
    """What one model did towards the answer, until it finished or handed over to a fallback."""

    model: str
    iterations: list[Iteration]
    is_last: bool = False
    """No other came after it: it need not have been refused."""

    @property
    def has_output(self) -> bool:
        return any(iteration.output_tokens for iteration in self.iterations)


def _of_iterations(used: Used, usage: Usage, iterations: Sequence[Iteration]) -> list[Charge]:
    model = used.answered_model or used.model
    beside = [_of_iteration(each, each.model or model, usage) for each in iterations if not each.is_attempt]
    hops = _hops(used, iterations)
    if used.usage_source == UsageSource.ESTIMATED or not hops:
        # The last word never came: how far the hop got that was at work, only the counters know.
        serving = [] if _is_free(used) else [_of_counters(used, usage)]
        return [*_of_hops(used, usage, hops[:-1]), *serving, *beside]
    hops[-1].is_last = True
    searches = Charge(terms=_terms(model, usage, 0), web_searches=used.web_search_requests)
    return [*_of_hops(used, usage, hops), *beside, searches]


def _hops(used: Used, iterations: Sequence[Iteration]) -> list[_Hop]:
    """Models of a chain of fallbacks differ from each other. Where a fallback served, a model that is not named is the
    one that was asked for."""
    answered = used.answered_model or used.model
    first = used.model if any(each.type == "fallback_message" for each in iterations) else answered
    hops: list[_Hop] = []
    for each in iterations:
        if each.is_attempt:
            model = each.model or (first if each.type == "message" else answered)
            if not hops or hops[-1].model != model:
                hops.append(_Hop(model, []))
            hops[-1].iterations.append(each)
    return hops


def _of_hops(used: Used, usage: Usage, hops: Sequence[_Hop]) -> Iterator[Charge]:
    """What each did, but for hops that declined before any output in a category that is free."""
    refusals = used.refusals.split(",") if used.refusals else []
    for index, hop in enumerate(hops):
        category = refusals[index] if index < len(refusals) else ""
        if _is_declined(used, hop, category) and category not in BILLED_REFUSALS:
            continue
        yield from (_of_iteration(each, hop.model, usage) for each in hop.iterations)


def _is_declined(used: Used, hop: _Hop, category: str) -> bool:
    """Of the last one the answer itself tells: an output of 0 may be all that was asked for."""
    if hop.is_last and (used.is_declined or not category):
        return used.is_declined
    return not hop.has_output


def _of_iteration(iteration: Iteration, model: str, usage: Usage) -> Charge:
    writes = iteration.cache_creation or NO_WRITES
    write_1h = writes.ephemeral_1h_input_tokens or 0
    total = max(iteration.cache_creation_input_tokens or 0, (writes.ephemeral_5m_input_tokens or 0) + write_1h)
    read, fresh = iteration.cache_read_input_tokens or 0, iteration.input_tokens or 0
    # An advisor has a speed of its own, which nobody reports.
    is_fast = None if iteration.type != "advisor_message" else False
    return Charge(
        terms=_terms(model, usage, fresh + read + total, is_fast=is_fast),
        input_tokens=fresh,
        output_tokens=iteration.output_tokens or 0,
        cache_read_tokens=read,
        cache_write_5m_tokens=total - write_1h,  # what is not split counts as 5 minutes (facts 4.14 g)
        cache_write_1h_tokens=write_1h,
    )
