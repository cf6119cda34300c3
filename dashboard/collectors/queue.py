"""What waits for a Celery worker."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from telemetry import queue


class QueueCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        waiting = queue.waiting()
        yield GaugeMetricFamily("nexus_celery_queue_tasks", "Tasks that no worker has taken yet", value=waiting.tasks)
        yield GaugeMetricFamily(
            "nexus_celery_queue_oldest_seconds",
            "How long the oldest of these has waited; 0: nothing waits",
            value=waiting.oldest_seconds or 0.0,
        )
