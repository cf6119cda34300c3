"""What Prometheus hears of that is not counted by a process: it is asked for at scrape time, of the database or of the
cache. One file for each collector; what it cannot find out it does not say."""

from dashboard.collectors.asked import CACHE, Asked
from dashboard.collectors.credentials import CredentialCollector
from dashboard.collectors.deliveries import DeliveryCollector
from dashboard.collectors.exports import ExportCollector
from dashboard.collectors.incidents import IncidentCollector
from dashboard.collectors.ledger import LedgerCollector
from dashboard.collectors.limits import LimitCollector
from dashboard.collectors.queue import QueueCollector
from dashboard.collectors.rollups import RollupCollector
from dashboard.collectors.tasks import TaskCollector

COLLECTORS = (
    Asked("ledger", LedgerCollector()),
    Asked("rollups", RollupCollector()),
    Asked("incidents", IncidentCollector()),
    Asked("deliveries", DeliveryCollector()),
    Asked("exports", ExportCollector()),
    Asked("limits", LimitCollector()),
    Asked("credentials", CredentialCollector()),
    Asked("queue", QueueCollector(), of=CACHE),
    Asked("tasks", TaskCollector(), of=CACHE),
)
