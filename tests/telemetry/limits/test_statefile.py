"""The file of limits: what a restart finds again, and what others see meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from telemetry.limits.memory import MemoryStore
from telemetry.limits.meters import LEASE_MS
from telemetry.limits.statefile import LOCK, NAME, StateFile, is_served, read_state
from telemetry.limits.store import Granted, Seed, Unknown
from tests.served import eventually
from tests.telemetry.limits.meters import money, places, want, window

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock)


def restarted(folder: Path, clock: Clock) -> MemoryStore:
    store = MemoryStore(clock)
    file = StateFile(store, folder)
    file.open()
    file.close()
    return store


@contextlib.asynccontextmanager
async def kept(file: StateFile) -> AsyncIterator[None]:
    file.open()
    running = asyncio.create_task(file.run())
    try:
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        file.close()


def test_a_restart_hands_out_no_fresh_windows(tmp_path: Path, store: MemoryStore, clock: Clock) -> None:
    meter = window(limit=2)
    file = StateFile(store, tmp_path)
    file.open()
    for _ in range(2):
        assert isinstance(store.reserve_now(want(meter)), Granted)
        clock.now_ms += 10_000
    file.close()
    again = restarted(tmp_path, clock)
    (use,) = again.read_now([meter])
    assert (use.used, 40_000 < use.frees_in_ms <= 41_000) == (2, True)
    assert not isinstance(again.reserve_now(want(meter)), Granted)
    clock.now_ms += use.frees_in_ms
    assert isinstance(again.reserve_now(want(meter)), Granted)


def test_what_is_older_than_the_window_is_gone_after_a_restart(
    tmp_path: Path, store: MemoryStore, clock: Clock
) -> None:
    file = StateFile(store, tmp_path)
    file.open()
    store.reserve_now(want(window()))
    file.close()
    clock.now_ms += 62_000
    assert restarted(tmp_path, clock).read_now([window()])[0].used == 0


def test_places_are_free_and_money_is_unknown_after_a_restart(tmp_path: Path, store: MemoryStore, clock: Clock) -> None:
    place, budget = places(), money()
    store.seed_now([Seed(budget, 5, frozenset())])
    file = StateFile(store, tmp_path)
    file.open()
    assert isinstance(store.reserve_now(want(place, budget)), Granted)
    file.close()
    again = restarted(tmp_path, clock)
    assert again.read_now([place])[0].used == 0
    assert isinstance(again.reserve_now(want(budget)), Unknown)


def test_who_looks_sees_places_and_money_as_long_as_their_leases_last(
    tmp_path: Path, store: MemoryStore, clock: Clock
) -> None:
    place, budget = places(), money()
    store.seed_now([Seed(budget, 5, frozenset())])
    file = StateFile(store, tmp_path)
    file.open()
    for _ in range(3):
        store.reserve_now(want(place, budget))
    file.close()
    state = read_state(tmp_path)
    assert state
    looked = MemoryStore(clock)
    looked.restore(state, with_running=True)
    assert [(use.used, use.held, use.is_known) for use in looked.read_now([place, budget])] == [
        (3, 3, True),
        (8, 3, True),
    ]
    clock.now_ms += LEASE_MS
    assert [use.used for use in looked.read_now([place, budget])] == [0, 5]


def test_whoever_looks_leaves_no_trace(store: MemoryStore) -> None:
    meters = [window(key=str(number)) for number in range(10)] + [money()]
    assert [use.is_known for use in store.read_now(meters)] == [True] * 10 + [False]
    assert store.state(100).meters == []


def test_of_very_many_meters_those_used_last_are_kept(store: MemoryStore) -> None:
    for number in range(20):
        store.reserve_now(want(window(key=str(number))))
    assert [each.key for each in store.state(3).meters] == ["19", "18", "17"]


async def test_it_is_written_when_something_was_counted_and_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telemetry.limits.statefile.WRITE_SECONDS", 0.01)
    store = MemoryStore()
    async with kept(StateFile(store, tmp_path)):
        await asyncio.sleep(0.05)
        assert not (tmp_path / NAME).exists()
        for used in (1, 2):
            store.reserve_now(want(window()))
            await asyncio.to_thread(eventually, lambda used=used: _used(tmp_path) == used)
        written = (tmp_path / NAME).stat().st_mtime_ns
        await asyncio.sleep(0.05)
        assert (tmp_path / NAME).stat().st_mtime_ns == written
    assert _names(tmp_path) == [LOCK, NAME]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _used(folder: Path) -> int:
    state = read_state(folder)
    return sum(state.meters[0].slots.values()) if state else 0


async def test_a_second_process_does_not_write(tmp_path: Path) -> None:
    store, other = MemoryStore(), MemoryStore()
    assert not is_served(tmp_path)
    async with kept(StateFile(store, tmp_path)):
        assert is_served(tmp_path)
        intruder = StateFile(other, tmp_path)
        intruder.open()
        other.reserve_now(want(window(key="other")))
        intruder.close()
        assert read_state(tmp_path) is None
    assert not is_served(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x93\x01\x02", b"\x93\x63\x02\x90"])
def test_a_broken_file_is_like_none(tmp_path: Path, clock: Clock, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert restarted(tmp_path, clock).state(10).meters == []


def test_a_disk_that_is_full_stops_nobody(tmp_path: Path, store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    file = StateFile(store, tmp_path)
    file.open()
    (tmp_path / f"{NAME}.new").mkdir()  # nothing can be written there
    store.reserve_now(want(window()))
    file.close()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
