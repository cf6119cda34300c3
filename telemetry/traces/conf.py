"""The settings of tracing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.core.exceptions import ImproperlyConfigured

SAMPLERS = ("always_on", "always_off", "traceidratio")
_PARENT = "parentbased_"


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceConf:
    endpoint: str = field(default="", repr=False)
    """Of a collector that speaks OTLP over http, without /v1/traces; empty: no traces. It may hold a token."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    service_name: str = "nexus"
    ratio: float = 1.0
    """How many of the traces that begin here are sampled."""
    follows_parent: bool = True
    """A client's own trace is sampled if the client says so."""
    forwards: bool = False
    """The API gets a traceparent."""


def sampling(sampler: str, argument: str) -> tuple[float, bool]:
    """Ratio, and whether a parent's word counts, as OTEL_TRACES_SAMPLER and its _ARG say. Raises
    ImproperlyConfigured."""
    name = sampler.removeprefix(_PARENT)
    if name not in SAMPLERS:
        known = ", ".join((*SAMPLERS, *(_PARENT + each for each in SAMPLERS)))
        raise ImproperlyConfigured(f"OTEL_TRACES_SAMPLER={sampler!r}: use one of {known}.")
    ratio = {"always_on": 1.0, "always_off": 0.0}.get(name)
    return (_ratio(argument) if ratio is None else ratio), sampler != name


def _ratio(argument: str) -> float:
    try:
        ratio = float(argument or 1)
    except ValueError:
        ratio = -1
    if not 0 <= ratio <= 1:
        raise ImproperlyConfigured(f"OTEL_TRACES_SAMPLER_ARG={argument!r}: use a share from 0 to 1.")
    return ratio


def header_pairs(text: str) -> dict[str, str]:
    """`name=value,name=value`, as OTEL_EXPORTER_OTLP_HEADERS is written. Raises ImproperlyConfigured."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if any(not name.strip() or not equals for name, equals, _ in pairs):
        raise ImproperlyConfigured("OTEL_EXPORTER_OTLP_HEADERS: use name=value, separated by commas.")
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
