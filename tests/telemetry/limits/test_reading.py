"""Where figures come from."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from pytest_django import Settings

from accounts.ids import new_id
from telemetry.limits import reading
from telemetry.limits.memory import MemoryStore
from telemetry.limits.meters import Meter
from telemetry.limits.reading import Source, count_here, count_nowhere, read
from telemetry.limits.shared import SharedStore
from telemetry.limits.statefile import StateFile
from telemetry.limits.store import Use
from tests.services import free_port
from tests.telemetry.limits.meters import money, want, window
from tests.telemetry.limits.stores import running

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def alone(settings: Settings, tmp_path: Path) -> Iterator[None]:
    """No Redis, a folder of its own, and nobody who serves in this process."""
    settings.REDIS_URL, settings.NEXUS_DATA = "", tmp_path
    count_nowhere()
    yield
    count_nowhere()


def test_nobody_serves_and_nothing_is_counted() -> None:
    found = read([window(), money()])
    assert found.source is Source.NOBODY
    assert [(use.used, use.is_known) for use in found.uses] == [(0, True), (0, False)]


class Watched(MemoryStore):
    """Notes who looks."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def read_now(self, meters: Sequence[Meter]) -> list[Use]:
        self.threads.add(threading.get_ident())
        return super().read_now(meters)


async def test_a_thread_of_the_process_that_serves_asks_its_event_loop() -> None:
    count_here(store := Watched())
    for _ in range(3):
        store.reserve_now(want(window()))
    found = await sync_to_async(read, thread_sensitive=False)([window()])
    assert (found.source, found.uses[0].used) == (Source.PROCESS, 3)
    assert store.threads == {threading.get_ident()}


async def test_the_event_loop_itself_may_look_too() -> None:
    count_here(MemoryStore())
    assert read([window()]).source is Source.PROCESS


def test_a_loop_that_has_ended_is_not_waited_for() -> None:
    async def serve() -> None:
        count_here(MemoryStore())

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    thread.join()
    assert read([window()]).source is Source.NOBODY


async def test_a_loop_that_is_busy_is_waited_for_but_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "ANSWER_SECONDS", 0.05)
    count_here(MemoryStore())
    found: list[Source] = []
    thread = threading.Thread(target=lambda: found.append(read([window()]).source))
    thread.start()
    thread.join()  # and meanwhile this loop does nothing else
    assert found == [Source.NOBODY]


def test_others_read_the_file_and_hear_whether_anybody_serves(tmp_path: Path) -> None:
    store = MemoryStore()
    store.reserve_now(want(window()))
    file = StateFile(store, tmp_path)
    file.open()
    file.close()
    left = read([window()])
    assert (left.source, left.uses[0].used, left.age_seconds < 60) == (Source.LEFT, 1, True)
    serving = StateFile(store, tmp_path)
    serving.open()
    assert read([window()]).source is Source.FILE
    serving.close()


async def test_with_redis_it_is_asked_whoever_looks(settings: Settings, shared_redis: str) -> None:
    settings.REDIS_URL = shared_redis
    meters = [window(key=str(new_id())) for _ in range(300)]  # more than are asked for at once
    async with running(SharedStore(shared_redis)) as store:
        for number in (7, 7, 299):
            await store.reserve(want(meters[number]))
        found = await sync_to_async(read, thread_sensitive=False)([*meters, money(key=str(new_id()))])
    assert found.source is Source.REDIS
    assert [use.used for use in found.uses if use.used] == [2, 1]
    assert (found.uses[7].used, found.uses[-1].is_known) == (2, False)


async def test_while_redis_is_away_this_process_tells_what_it_counts_alone(settings: Settings) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}"
    away = read([window()])
    assert (away.source, away.uses[0].is_known) == (Source.AWAY, False)
    store = MemoryStore()
    store.reserve_now(want(window()))
    count_here(store)
    found = read([window()])
    assert (found.source, found.uses[0].used) == (Source.ALONE, 1)
