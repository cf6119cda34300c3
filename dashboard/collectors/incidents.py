"""What is wrong now."""

from collections.abc import Iterator

from django.db.models import Count
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from telemetry.models import Incident
from telemetry.models.incidents import Severity


class IncidentCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        rows = Incident.objects.unresolved().order_by().values_list("severity")
        found = dict(rows.annotate(number=Count("*")))
        incidents = GaugeMetricFamily(
            "nexus_incidents_open", "Incidents that are not resolved, acknowledged ones included", labels=("severity",)
        )
        for severity in Severity:
            incidents.add_metric([severity.value], found.get(severity.value, 0))
        yield incidents
