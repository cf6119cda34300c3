"""Reads LiteLLM's public price file (facts/claude-api.md 6.8). It is somebody else's: values that are no numbers are
refused with the whole file, and values that contradict the API's own price list are doubted (facts 6.9)."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from telemetry.models.money import MODEL_ID

PROVIDER, MODE, SAMPLE = "anthropic", "chat", "sample_spec"
MAX_BYTES = 50 * 1024 * 1024
PER_MTOK = Decimal(1_000_000)
SMALLEST, SMALLEST_FACTOR = Decimal("0.000001"), Decimal("0.0001")
"""What the columns hold."""
LIMIT = Decimal(100_000_000)
"""USD per million tokens that the columns hold."""
RATE_KEYS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_write_5m": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "cache_read": "cache_read_input_token_cost",
}
ABOVE = "_above_200k_tokens"
STEP = 200_000
CACHE_RULES = {"cache_write_5m": Decimal("1.25"), "cache_write_1h": Decimal(2), "cache_read": Decimal("0.1")}
"""Times input (facts 6.2). Reads are cheaper with some models, so that only dearer ones are doubted."""
FAST_FACTORS = dict.fromkeys(("claude-opus-5-5", "claude-opus-5", "claude-opus-4-8"), Decimal(2))
US_FACTOR = Decimal("1.1")
SEARCH_SIZES = tuple(f"search_context_size_{size}" for size in ("low", "medium", "high"))
DEAR = Decimal(1000)
"""USD per million tokens. What costs more is rather a price of the wrong unit."""
LEAP = 10
"""A price that becomes so many times dearer or cheaper is rather a slip."""


class BadPriceFile(Exception):
    """It says why, in a sentence."""


@dataclass(frozen=True, slots=True)
class Doubt:
    model: str
    field: str
    value: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One model; fields as `PriceRow` has them."""

    model: str
    values: dict[str, Decimal]
    """Those that the file states."""
    doubts: tuple[Doubt, ...]
    """Of these values some."""


@dataclass(frozen=True, slots=True)
class PriceFile:
    entries: tuple[Entry, ...]
    passed_over: tuple[tuple[str, str], ...]
    """Names, and why no price can be made of them."""


def read(data: bytes) -> PriceFile:
    """Raises BadPriceFile."""
    models = {
        name: entry
        for name, entry in _decoded(data).items()
        if name != SAMPLE and _of(name, entry, "litellm_provider") == PROVIDER and entry.get("mode") == MODE
    }
    if not models:
        raise BadPriceFile(f"It has no model of provider {PROVIDER}. Is this LiteLLM's file of prices?")
    passed_over = tuple((name, reason) for name, entry in models.items() if (reason := _unusable(name, entry)))
    names = {name for name, _ in passed_over}
    return PriceFile(tuple(_entry(name, entry) for name, entry in models.items() if name not in names), passed_over)


def leaps(before: Decimal, after: Decimal) -> bool:
    return bool(before and after) and not before / LEAP < after < before * LEAP


# --- JSON -------------------------------------------------------------------------------------------------------------


def _decoded(data: bytes) -> dict[str, dict[str, Any]]:
    if len(data) > MAX_BYTES:
        raise BadPriceFile(f"It has {len(data):,} bytes; no price file is that large.")
    try:
        found = json.loads(data, parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=_without_repeats)
    except BadPriceFile:
        raise
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise BadPriceFile(f"It is not JSON: {str(error)[:200]}.") from None
    if not isinstance(found, dict):
        raise BadPriceFile("It is JSON, but not an object of models.")
    return found


def _no_number(name: str) -> NoReturn:
    raise BadPriceFile(f"{name} is not a price.")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """One of two would be lost, and nobody knew which."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise BadPriceFile(f"The name {repeated[:100]!r} is there twice.")
    return found


def _of(name: str, entry: Any, key: str) -> Any:
    if not isinstance(entry, dict):
        raise BadPriceFile(f"{name[:100]!r} is not an object of prices.")
    return entry.get(key)


def _number(model: str, entry: dict[str, Any], key: str) -> Decimal | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise BadPriceFile(f"{model[:100]}: {key} is {str(value)[:50]!r}, not a number.")
    number = Decimal(value)
    if number < 0:
        raise BadPriceFile(f"{model[:100]}: {key} is negative.")
    if number >= LIMIT:
        raise BadPriceFile(f"{model[:100]}: {key} is far too large.")
    return number


# --- Models -----------------------------------------------------------------------------------------------------------


def _unusable(model: str, entry: dict[str, Any]) -> str:
    if not MODEL_ID.fullmatch(model) or "*" in model or len(model) > 200:
        return "it is not a model's id"
    missing = [name for name in ("input", "output") if not _number(model, entry, RATE_KEYS[name])]
    return f"it has no price of {' and '.join(missing)}" if missing else ""


def _entry(model: str, entry: dict[str, Any]) -> Entry:
    values: dict[str, Decimal] = {}
    doubts: list[Doubt] = []
    for field, value, reason in _values(model, entry):
        rounded = value.quantize(SMALLEST_FACTOR if field.endswith("_factor") else SMALLEST)
        if rounded != value:
            reason = reason or "it has more digits than a price"
        values[field] = rounded
        if reason:
            doubts.append(Doubt(model, field, value, reason))
    return Entry(model, values, tuple(doubts))


def _values(model: str, entry: dict[str, Any]) -> Iterator[tuple[str, Decimal, str]]:
    """Field, value, and why it is doubted, if it is."""
    yield from _rates(model, entry, "", "", lambda field: "")
    most = _number(model, entry, "max_input_tokens")
    too_short = most is not None and most <= STEP
    yield from _rates(
        model, entry, "long_", ABOVE, lambda field: f"the model takes no more than {STEP:,} tokens" if too_short else ""
    )
    yield from _factors(model, entry.get("provider_specific_entry"))
    yield from _searches(model, entry.get("search_context_cost_per_query"))


def _rates(
    model: str, entry: dict[str, Any], prefix: str, suffix: str, doubt: Callable[[str], str]
) -> Iterator[tuple[str, Decimal, str]]:
    fresh = _number(model, entry, f"{RATE_KEYS['input']}{suffix}")
    for field, key in RATE_KEYS.items():
        per_token = _number(model, entry, f"{key}{suffix}")
        if per_token is not None:
            rate = per_token * PER_MTOK
            if rate >= LIMIT:
                raise BadPriceFile(f"{model}: {key}{suffix} is far too large.")
            too_dear = "no model is that dear" if rate >= DEAR else ""
            yield f"{prefix}{field}", rate, doubt(field) or too_dear or _against_rule(field, per_token, fresh)


def _against_rule(field: str, rate: Decimal, fresh: Decimal | None) -> str:
    times = CACHE_RULES.get(field)
    if times is None or fresh is None:
        return ""
    if field == "cache_read":
        return "it is dearer than a tenth of input" if rate > fresh * times else ""
    return "" if rate == fresh * times else f"it is not {times} times input"


def _factors(model: str, given: Any) -> Iterator[tuple[str, Decimal, str]]:
    if not isinstance(given, dict):
        return
    fast, us = _number(model, given, "fast"), _number(model, given, "us")
    if fast is not None:
        known = FAST_FACTORS.get(model)
        reason = (
            "the API's price list has no fast mode for it" if known is None else f"the API's price list has {known}"
        )
        yield "fast_factor", fast, "" if fast == known else reason
    if us is not None:
        yield "us_factor", us, "" if us == US_FACTOR else f"the API's price list has {US_FACTOR}"


def _searches(model: str, given: Any) -> Iterator[tuple[str, Decimal, str]]:
    if not isinstance(given, dict):
        return
    found = {value for size in SEARCH_SIZES if (value := _number(model, given, size)) is not None}
    for value in sorted(found)[:1]:
        yield "web_search_per_thousand", value * 1000, "" if len(found) == 1 else "it depends on the size of a search"
