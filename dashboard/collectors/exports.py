"""What waits for the telemetry endpoint."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from telemetry.models import ExportRow


class ExportCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "nexus_exports_waiting",
            "Exchanges that the telemetry endpoint has not confirmed",
            value=ExportRow.objects.count(),
        )
