"""Celery inside the one process: a worker and beat as threads on the memory broker (facts/ecosystem.md 4.2)."""

import contextlib
import threading
import warnings
from collections.abc import Iterator

from celery.beat import Scheduler, Service
from celery.platforms import SecurityWarning
from celery.worker import state

from nexus.celery import app

STOP_SECONDS = 1.5


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
    beat = Service(app, scheduler_cls=Scheduler)
    threads = [
        threading.Thread(target=worker.start, name="celery-worker", daemon=True),
        threading.Thread(target=beat.start, name="celery-beat", daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        state.should_stop = 0
        beat.stop()
        for thread in threads:
            thread.join(STOP_SECONDS)
