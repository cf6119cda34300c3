"""How far the sums by the hour have got."""

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Max
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from accounts.ids import moment_of
from telemetry.models import HourMark, HourRow


class RollupCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        newest = GaugeMetricFamily(
            "nexus_rollup_newest_timestamp_seconds", "When the newest request began that is in the sums by the hour"
        )
        if (moment := _newest()) is not None:
            newest.add_metric([], moment.timestamp())
        yield newest
        yield GaugeMetricFamily(
            "nexus_rollup_marks",
            "Marks that wait: hours of domains that have to be summed anew, each once for each writer",
            value=HourMark.objects.count(),
        )
        oldest = GaugeMetricFamily(
            "nexus_rollup_oldest_mark_timestamp_seconds", "Since when the oldest of these waits, at least"
        )
        stamp = HourMark.objects.order_by("stamp").values_list("stamp", flat=True).first()
        if stamp is not None:
            oldest.add_metric([], moment_of(stamp).timestamp())
        yield oldest


def _newest() -> datetime | None:
    hour = HourRow.objects.order_by("-hour").values_list("hour", flat=True).first()
    if hour is None:
        return None
    newest: datetime = HourRow.objects.filter(hour=hour).aggregate(newest=Max("last_started_at"))["newest"]
    return newest
