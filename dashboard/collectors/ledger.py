"""The ledger of the cluster, and of each process that runs or has a gap."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dashboard.ledger import proof

LEDGER = {
    "accepted": "Exchanges that entered the record",
    "stored": "Exchanges in the database",
    "in_flight": "Exchanges that have not ended",
    "spooled": "Exchanges that have ended and wait for the database",
    "gap": "accepted - stored - in flight - spooled: 0 when everything is accounted for",
    "lost": "Exchanges known to be lost; the log of their process says why",
    "bodies_dropped": "Bodies that were not kept because the spool was full",
    "spooled_bytes": "What the spool holds, in bytes",
}


class LedgerCollector(Collector):
    """Gauges: a process that ends takes its counts out of the list, and what it did into the cluster's."""

    def collect(self) -> Iterator[Metric]:
        found = proof()
        for name, meaning in LEDGER.items():
            cluster = GaugeMetricFamily(f"nexus_record_{name}", f"{meaning}, of the cluster")
            cluster.add_metric([], found["cluster"][name])
            yield cluster
            each = GaugeMetricFamily(
                f"nexus_record_process_{name}", f"{meaning}, by process", labels=("node", "process")
            )
            for process in found["processes"]:
                each.add_metric([process["node"], str(process["process"])], process[name])
            yield each
