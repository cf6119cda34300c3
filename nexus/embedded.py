"""Celery inside the one process: a worker and beat as threads on the memory broker (facts/ecosystem.md 4.2)."""

import contextlib
import threading
import warnings
from collections.abc import Iterator

from celery.beat import Scheduler, Service
from celery.platforms import SecurityWarning

from nexus.celery import app

BEAT_TICK_SECONDS = 0.5
"""How long beat sleeps at most, and so how soon it notices that it should stop."""
STOP_SECONDS = 1.0


def _declare_queues() -> None:
    """Before there are threads: two that declare a queue in memory at once make it twice, and what is in the first is
    lost."""
    with app.connection_for_write() as connection:
        for queue in app.amqp.queues.values():
            queue(connection.default_channel).declare()


@contextlib.contextmanager
def celery_threads() -> Iterator[None]:
    # Its warning is about messages that others could send; nobody else can reach a broker in memory.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    worker = app.Worker(
        pool="solo",
        concurrency=1,
        loglevel="WARNING",
        without_mingle=True,
        without_gossip=True,
        without_heartbeat=True,
        quiet=True,
    )
    # The plain scheduler keeps its times in memory: no file beside the database.
    beat = Service(app, max_interval=BEAT_TICK_SECONDS, scheduler_cls=Scheduler)
    threads = [
        threading.Thread(target=worker.start, name="celery-worker", daemon=True),
        threading.Thread(target=beat.start, name="celery-beat", daemon=True),
    ]
    _declare_queues()
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        beat.stop()
        app.control.shutdown()
        for thread in threads:
            thread.join(STOP_SECONDS)
