"""Asks collectors no more than every few seconds, however many scrape, and lives with one that fails."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from telemetry.timelimit import time_limited

logger = logging.getLogger(__name__)
KEPT_SECONDS = 5.0
QUERY_SECONDS = 2.0
DATABASE, CACHE = "database", "cache"


@dataclass(slots=True, eq=False)
class Asked:
    """One collector, and what it said last."""

    name: str
    collector: Collector
    of: str = DATABASE
    """Of what it asks: where that is away, others that ask the same are not tried."""
    kept_seconds: float = KEPT_SECONDS
    said: tuple[Metric, ...] = ()
    asked_at: float = float("-inf")
    is_well: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def ask(self, away: set[str]) -> None:
        with self.lock:
            if time.monotonic() - self.asked_at < self.kept_seconds:
                return
            if self.of in away:
                self._says_nothing()
                return
            try:
                with time_limited(QUERY_SECONDS) if self.of == DATABASE else nullcontext():
                    self.said = tuple(self.collector.collect())
                self.is_well = True
            except Exception as error:
                logger.warning("the metrics of %s are left out: %s", self.name, type(error).__name__)
                away.add(self.of)
                self._says_nothing()
            self.asked_at = time.monotonic()

    def _says_nothing(self) -> None:
        self.said, self.is_well = (), False


class Together(Collector):
    def __init__(self, collectors: Sequence[Asked]) -> None:
        self._collectors = collectors

    def collect(self) -> Iterator[Metric]:
        away: set[str] = set()
        up = GaugeMetricFamily(
            "nexus_collector_up", "1 if what the database or Redis knows of could be asked for", labels=("collector",)
        )
        for asked in self._collectors:
            asked.ask(away)
            yield from asked.said
            up.add_metric([asked.name], float(asked.is_well))
        yield up
