"""Takes up a client's trace, and hands it on to the API where the operator wants that."""

from proxy.headers import Headers
from telemetry.traces.conf import TraceConf
from telemetry.traces.context import Trace, trace_of


class Tracing:
    def __init__(self, conf: TraceConf) -> None:
        self._conf = conf
        self._is_on = bool(conf.endpoint) or conf.forwards

    def begin(self, headers: Headers) -> Trace | None:
        """None where there is no tracing."""
        if not self._is_on:
            return None
        parents = [value for name, value in headers if name == b"traceparent"]
        states = [value for name, value in headers if name == b"tracestate"] if parents else []
        return trace_of(parents, states, ratio=self._conf.ratio, follows_parent=self._conf.follows_parent)

    def for_upstream(self, trace: Trace | None) -> list[tuple[bytes, bytes]]:
        return trace.headers() if trace is not None and self._conf.forwards else []
