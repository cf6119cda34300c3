"""What people have still to hear, and what is wrong."""

from collections import Counter
from collections.abc import Iterator

from django.db.models import Count, Min, Sum
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from telemetry.models import Delivery, ExportRow, Incident, Severity, Target
from telemetry.models.notices import State

WAITING = (State.PENDING, State.SENDING, State.HELD)
MISSED = (State.FAILED, State.UNCONFIRMED)


class DeliveryCollector(Collector):
    """The delivery log goes back 30 days."""

    def collect(self) -> Iterator[Metric]:
        counts = Counter(_by_state())
        deliveries = GaugeMetricFamily(
            "nexus_deliveries", "Messages for Slack and webhooks in the delivery log", labels=("state",)
        )
        for state in (*WAITING, *MISSED):
            deliveries.add_metric([state.value], counts[state.value])
        yield deliveries
        oldest = GaugeMetricFamily(
            "nexus_delivery_oldest_due_timestamp_seconds", "When the message was due that waits longest"
        )
        due_at = Delivery.objects.filter(state=State.PENDING).aggregate(due_at=Min("due_at"))["due_at"]
        if due_at is not None:
            oldest.add_metric([], due_at.timestamp())
        yield oldest
        failing = Target.objects.filter(failing_since__isnull=False).count()
        yield GaugeMetricFamily(
            "nexus_delivery_targets_failing", "Slack targets and webhooks that take nothing", value=failing
        )
        dropped = Target.objects.aggregate(dropped=Sum("dropped", default=0))["dropped"]
        yield GaugeMetricFamily(
            "nexus_delivery_dropped", "Conversations given up because too many waited, since ever", value=dropped
        )
        yield GaugeMetricFamily(
            "nexus_export_waiting", "Exchanges that wait for the telemetry endpoint", value=ExportRow.objects.count()
        )


class IncidentCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        found = Incident.objects.unresolved().values_list("severity", "state").order_by()
        counts = Counter(found)
        incidents = GaugeMetricFamily(
            "nexus_incidents", "Incidents that are not resolved", labels=("severity", "state")
        )
        for severity in Severity.values:
            for state in ("open", "acknowledged"):
                incidents.add_metric([severity, state], counts[severity, state])
        yield incidents


def _by_state() -> dict[str, int]:
    rows = Delivery.objects.filter(state__in=(*WAITING, *MISSED)).order_by().values("state")
    return dict(rows.annotate(count=Count("id")).values_list("state", "count"))
