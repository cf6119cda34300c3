"""How a process is: measured by itself every two seconds, and told to the others through the cache."""

import os
import platform
import resource
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from uuid import UUID

import msgspec
from django.core.cache import cache

from telemetry.record.ledger import node_name

KEPT_SECONDS = 30
"""Who is silent for so long is gone."""
STATM, DESCRIPTORS = Path("/proc/self/statm"), Path("/proc/self/fd")


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    process: UUID
    node: str
    pid: int
    version: str
    python: str
    started_at: datetime
    seen_at: datetime
    in_flight: int
    spooled: int
    spooled_bytes: int
    spool_limit_bytes: int
    sinks_dropped: int
    lost: int
    lost_lately: int
    """In the last minute."""
    bodies_dropped: int
    loop_lag_max_seconds: float
    """Of the last minute."""
    cpu_seconds: float
    memory_bytes: int | None
    """Resident. None here and below where /proc is not."""
    open_files: int | None


VERSION = version("nexus-gateway")
PYTHON = platform.python_version()
NODE = node_name()


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def memory_bytes() -> int | None:
    try:
        return int(STATM.read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return None


def open_files() -> int | None:
    try:
        return len(os.listdir(DESCRIPTORS)) - 1  # the listing itself has one open
    except OSError:
        return None


_own: Vitals | None = None


def own() -> Vitals | None:
    """Of this process, where it carries requests."""
    return _own


def publish(vitals: Vitals) -> None:
    """Raises what the cache raises."""
    global _own
    _own = vitals
    cache.set(_key(vitals.process), msgspec.json.encode(vitals), KEPT_SECONDS)


def published(processes: list[UUID]) -> dict[UUID, Vitals]:
    """Of those that live. Raises what the cache raises."""
    found = cache.get_many([_key(process) for process in processes])
    decoded = (msgspec.json.decode(each, type=Vitals) for each in found.values())
    return {vitals.process: vitals for vitals in decoded}


def _key(process: UUID) -> str:
    return f"nexus-vitals-{process}"
