"""A sink that makes a span of each exchange and exports it by OTLP. Only imported where traces are configured: its
packages are the extra `otel`."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from telemetry.record.exchange import Exchange
from telemetry.traces.conf import TraceConf
from telemetry.traces.context import Trace
from telemetry.traces.conventions import attributes_of, error_of, name_of

logger = logging.getLogger(__name__)

QUEUE_MAX_SPANS = 4096
"""Beyond it spans are dropped: a collector that is away costs nothing but those."""
EXPORT_SECONDS = 5.0
STOP_SECONDS = 2.0


class Spans:
    def __init__(self, conf: TraceConf, version: str, server: str, hosts: Callable[[], Mapping[UUID, str]]) -> None:
        self._server = server
        self._hosts = hosts
        self._resource = Resource.create({"service.name": conf.service_name, "service.version": version})
        self._scope = InstrumentationScope("nexus", version)
        self._processor = BatchSpanProcessor(Exporter(conf), max_queue_size=QUEUE_MAX_SPANS)

    def __call__(self, exchanges: Sequence[Exchange]) -> None:
        hosts = self._hosts()
        for exchange in exchanges:
            trace = exchange.trace
            if trace is not None and trace.is_sampled:
                self._processor.on_end(self._span(exchange, trace, hosts))

    def stop(self) -> None:
        """Sends what waits, for STOP_SECONDS at most."""
        stopping = threading.Thread(target=self._processor.shutdown, name="traces", daemon=True)
        stopping.start()
        stopping.join(STOP_SECONDS)

    def _span(self, exchange: Exchange, trace: Trace, hosts: Mapping[UUID, str]) -> ReadableSpan:
        host = hosts.get(exchange.domain_id, "") if exchange.domain_id else ""
        started_ns = _nanoseconds(exchange.started_at)
        is_error = bool(error_of(exchange))
        return ReadableSpan(
            name=name_of(exchange),
            context=_context(trace, trace.span_id, is_remote=False),
            parent=_context(trace, trace.parent_id, is_remote=True) if trace.parent_id else None,
            resource=self._resource,
            instrumentation_scope=self._scope,
            attributes=attributes_of(exchange, host, self._server),
            kind=SpanKind.CLIENT,
            status=Status(StatusCode.ERROR if is_error else StatusCode.UNSET),
            start_time=started_ns,
            end_time=started_ns + exchange.duration_ms * 1_000_000,
        )


class Exporter(SpanExporter):
    """The packages' own, but that it says once when spans begin to be dropped, and once when that is over. Theirs
    would say the collector's address each time, which may hold a token: nexus.logs keeps them silent."""

    def __init__(self, conf: TraceConf) -> None:
        session = requests.Session()
        session.hooks["response"].append(self._answered)
        self._inner = OTLPSpanExporter(
            endpoint=f"{conf.endpoint.rstrip('/')}/v1/traces",
            headers=dict(conf.headers),
            timeout=EXPORT_SECONDS,
            session=session,
        )
        self._status: int | None = None
        self._dropped = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._status = None
        result = self._inner.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._say_heard()
        else:
            self._say_dropped(len(spans))
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()  # type: ignore[no-untyped-call]

    def _answered(self, response: requests.Response, *args: object, **options: object) -> None:
        self._status = response.status_code

    def _say_heard(self) -> None:
        if self._dropped:
            logger.warning("the collector of traces takes spans again: %s were dropped", self._dropped)
        self._dropped = 0

    def _say_dropped(self, count: int) -> None:
        if not self._dropped:
            reason = f"answers {self._status}" if self._status else "cannot be reached"
            logger.warning("the collector of traces %s: spans are dropped", reason)
        self._dropped += count


def _context(trace: Trace, span_id: str, *, is_remote: bool) -> SpanContext:
    return SpanContext(
        int(trace.trace_id, 16),
        int(span_id, 16),
        is_remote,
        TraceFlags(TraceFlags.SAMPLED),
        TraceState.from_header([trace.state]) if trace.state else TraceState(),
    )


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000) * 1000
