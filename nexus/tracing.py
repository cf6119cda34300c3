"""Traces as the settings want them: OpenTelemetry's packages are only needed, and only loaded, where they are."""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from telemetry.traces.spans import Spans

PACKAGES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")


def check(endpoint: str) -> None:
    """Raises ImproperlyConfigured where traces are wanted and cannot be made."""
    if endpoint and not all(map(_is_there, PACKAGES)):
        raise ImproperlyConfigured(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not installed: install nexus-gateway[otel], or "
            "unset the variable."
        )


def spans(hosts: Callable[[], Mapping[UUID, str]]) -> "Spans | None":
    """The sink of this process, which has a thread of its own: not before the process is the one that serves."""
    if not settings.TRACES.endpoint:
        return None
    check(settings.TRACES.endpoint)  # not every server is started by `nexus serve`
    from telemetry.traces.spans import Spans

    server = urlsplit(settings.UPSTREAM.base_url).hostname or ""
    return Spans(settings.TRACES, version("nexus-gateway"), server, hosts)


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False
