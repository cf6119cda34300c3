"""How each task of beat's schedule last ran."""

import time
from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dashboard.background import scheduled_tasks
from telemetry.taskruns import PULSE, TaskRun, last_runs

OF_TASK: dict[str, tuple[str, Callable[[TaskRun], float | None]]] = {
    "last_start_timestamp_seconds": ("When it last began", lambda run: run.started_at),
    "last_success_timestamp_seconds": ("When it last ended well", lambda run: run.succeeded_at),
    "last_duration_seconds": ("How long it took when it last ended", lambda run: run.duration_seconds),
    "failures": ("How often in a row it has failed", lambda run: run.failures),
}


class TaskCollector(Collector):
    """A task that has never run is absent."""

    def collect(self) -> Iterator[Metric]:
        runs = last_runs(scheduled_tasks())
        for name, (meaning, of) in OF_TASK.items():
            family = GaugeMetricFamily(f"nexus_task_{name}", f"{meaning}, by task", labels=("task",))
            for task, run in sorted(runs.items()):
                if (value := of(run)) is not None:
                    family.add_metric([task.rpartition(".")[2]], value)
            yield family
        yield from _pulse(runs.get(PULSE))


def _pulse(run: TaskRun | None) -> Iterator[Metric]:
    age = GaugeMetricFamily(
        "nexus_celery_pulse_age_seconds", "How long ago a worker last began the task that beat sends every ten seconds"
    )
    wait = GaugeMetricFamily("nexus_celery_queue_wait_seconds", "How long that task had waited in the queue")
    if run is not None:
        age.add_metric([], max(0.0, time.time() - run.started_at))
        if run.waited_seconds is not None:
            wait.add_metric([], run.waited_seconds)
    yield age
    yield wait
