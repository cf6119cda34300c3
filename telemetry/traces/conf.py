"""The settings of tracing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from django.core.exceptions import ImproperlyConfigured

SAMPLERS = ("always_on", "always_off", "traceidratio")
_PARENT = "parentbased_"
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=([ -~]*)")
"""Its name, and what goes on the wire as it is: printable ASCII."""


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
    """`name=value,name=value`, as OTEL_EXPORTER_OTLP_HEADERS is written; `%20` in a value is a space. Raises
    ImproperlyConfigured."""
    found = [_HEADER.fullmatch(_decoded(part.strip())) for part in text.split(",") if part.strip()]
    if None in found:
        raise ImproperlyConfigured(
            "OTEL_EXPORTER_OTLP_HEADERS: use name=value, separated by commas; other characters as %20."
        )
    return {pair[1].lower(): pair[2] for pair in found if pair}


def _decoded(pair: str) -> str:
    name, equals, value = pair.partition("=")
    return name + equals + unquote(value.strip()).strip()
