"""What is on its way to Slack and to webhooks."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from accounts.ids import first_id_at
from telemetry.models import Delivery, Target
from telemetry.models.notices import UNSETTLED, State

LATELY = timedelta(days=1)


class DeliveryCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        rows = Delivery.objects.filter(state__in=UNSETTLED).order_by()
        found = dict(rows.values_list("state").annotate(number=Count("*")))
        waiting = GaugeMetricFamily(
            "nexus_deliveries_waiting", "Messages that have not reached Slack or a webhook yet", labels=("state",)
        )
        for state in UNSETTLED:
            waiting.add_metric([state.value], found.get(state.value, 0))
        yield waiting
        oldest = GaugeMetricFamily(
            "nexus_delivery_oldest_timestamp_seconds", "When the oldest of these was due that is not held back"
        )
        due_at = rows.exclude(state=State.HELD).aggregate(oldest=Min("due_at"))["oldest"]
        if due_at is not None:
            oldest.add_metric([], due_at.timestamp())
        yield oldest
        failed = Delivery.objects.filter(state=State.FAILED, id__gte=first_id_at(timezone.now() - LATELY))
        yield GaugeMetricFamily(
            "nexus_deliveries_failed", "Messages of the last day that were given up", value=failed.count()
        )
        failing = Target.objects.filter(failing_since__isnull=False).count()
        yield GaugeMetricFamily(
            "nexus_targets_failing", "Places that refuse messages for a reason that time does not heal", value=failing
        )
