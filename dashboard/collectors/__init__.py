"""What Prometheus hears of that is not counted by a process: it is asked for at scrape time, of the database or of the
cache. One file for each collector; what it cannot find out it does not say."""

from dashboard.collectors.asked import CACHE, Asked
from dashboard.collectors.ledger import LedgerCollector
from dashboard.collectors.queue import QueueCollector
from dashboard.collectors.rollups import RollupCollector
from dashboard.collectors.tasks import TaskCollector

COLLECTORS = (
    Asked("ledger", LedgerCollector()),
    Asked("rollups", RollupCollector()),
    Asked("queue", QueueCollector(), of=CACHE),
    Asked("tasks", TaskCollector(), of=CACHE),
)
