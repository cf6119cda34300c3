"""How many requests wait for room in a limit, how long, and how it ends."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

WAITS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)


class WaitingMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._waiting = Gauge(
            "nexus_limit_waiting",
            "Requests that wait for room in a limit",
            ("priority",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._waits = Histogram(
            "nexus_limit_wait_seconds",
            "How long requests waited for room in a limit, however it ended",
            ("priority",),
            buckets=WAITS,
            registry=registry,
        )
        self._endings = Counter(
            "nexus_limit_waits",
            "Requests that waited for room in a limit, by how it ended: admitted, refused, left, stopped",
            ("priority", "ending"),
            registry=registry,
        )

    def began(self, priority: str) -> None:
        self._waiting.labels(priority).inc()

    def ended(self, priority: str, ending: str, seconds: float) -> None:
        self._waiting.labels(priority).dec()
        self._waits.labels(priority).observe(seconds)
        self._endings.labels(priority, ending).inc()
