"""Waiting for room in limits, against the rules of limits in memory, on a clock that jumps."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from accounts.facts import ClientKeyFacts
from accounts.ids import new_id
from proxy.admission import Admission, Asker
from proxy.conf import WaitConf
from proxy.errors import BudgetSpent, ClientGone, LimitReached, ProxyError, Stopping
from proxy.refusals import refusal
from proxy.waiting import Say, WaitingRoom
from telemetry.limits.memory import MemoryStore
from telemetry.limits.meters import Dimension, Meter
from telemetry.limits.store import Denied, Granted, Settlement, Store, Want
from telemetry.metrics.waiting import WaitingMetrics
from tests.proxy.test_lines import asker, key
from tests.virtualtime import now, run


def places(name: str, limit: int = 1) -> Meter:
    return Meter(key=name, dimension=Dimension.CONCURRENT, limit=limit, scope="credential", label=name)


def per_minute(name: str, limit: int = 1) -> Meter:
    return Meter(key=name, dimension=Dimension.REQUESTS, limit=limit, window_ms=60_000, scope="key", label=name)


CREDENTIAL = places("the credential")


class House:
    """A waiting room in front of limits, and who asks in it. To be made within the loop."""

    def __init__(self, max_waiting: int = 1000, store: Store | None = None) -> None:
        self.registry = CollectorRegistry()
        conf = WaitConf(max_waiting=max_waiting, keepalive_after_seconds=10, keepalive_seconds=10)
        self.room = WaitingRoom(conf, WaitingMetrics(self.registry))
        self.store: Store = store or MemoryStore(lambda: 1_800_000_000_000 + round(now() * 1000))
        self.tries = 0
        self.admitted: list[str] = []

    async def admit(
        self, asking: Asker, meters: tuple[Meter, ...] = (CREDENTIAL,), say: Say | None = None
    ) -> Admission:
        """As the limiter does it."""
        wanted = Want(asking.id, meters, tuple(1 for _ in meters))
        if (reached := self.room.ahead(wanted, asking)) is None:
            try:
                return await self._reserve(asking, wanted)
            except LimitReached as raised:
                reached = raised
        return await self.room.wait(asking, wanted, reached, lambda: self._reserve(asking, wanted), say)

    async def _reserve(self, asking: Asker, wanted: Want) -> Admission:
        self.tries += 1
        reply = await self.store.reserve(wanted)
        if isinstance(reply, Denied):
            raise refusal(wanted.meters[reply.index], reply)
        assert isinstance(reply, Granted)
        self.admitted.append(asking.key.name)
        return Admission(wanted, reply)

    def settle(self, admission: Admission) -> None:
        wanted = admission.want
        used = tuple(int(meter.is_window) for meter in wanted.meters)
        self.store.settle(Settlement(wanted, admission.granted.at_ms, used))
        self.room.something_ended(wanted)

    async def carry(self, asking: Asker, seconds: float, meters: tuple[Meter, ...] = (CREDENTIAL,)) -> Admission:
        """A whole request: it waits, runs, and ends."""
        admission = await self.admit(asking, meters)
        await asyncio.sleep(seconds)
        self.settle(admission)
        return admission

    async def has_room(self, meters: tuple[Meter, ...]) -> bool:
        return all(use.used < use.meter.limit for use in await self.store.read(meters))

    def counted(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def assert_it_is_empty(self) -> None:
        assert self.room.waiting == 0
        assert not self.room._lines


def person(name: str = "Ada", *, weight: int = 1, waits: int = 60) -> Asker:
    return asker(key(name, weight=weight, waits=waits))


def go(awaited: Awaitable[Any]) -> "asyncio.Future[Any]":
    return asyncio.ensure_future(awaited)


async def come(house: House, asking: Asker, meters: tuple[Meter, ...] = (CREDENTIAL,)) -> "asyncio.Future[Any]":
    """Somebody who is there and waits, or was let in at once."""
    task = go(house.admit(asking, meters))
    await asyncio.sleep(0)
    return task


async def refused(task: "asyncio.Future[Any]") -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        await task
    return caught.value


def test_who_waits_is_let_in_as_soon_as_a_request_ends() -> None:
    async def main() -> None:
        house = House()
        first = await house.admit(person())
        second = await come(house, person("Bob"))
        await asyncio.sleep(7.3)
        assert not second.done()
        house.settle(first)
        began = now()
        admission = await second
        assert now() == began
        assert admission.waited_seconds == pytest.approx(7.3)
        house.assert_it_is_empty()

    run(main())


def test_who_need_not_wait_has_not() -> None:
    async def main() -> None:
        assert (await House().admit(person())).waited_seconds == 0

    run(main())


def test_who_waits_for_a_window_is_let_in_when_there_is_room() -> None:
    async def main() -> None:
        house, meters = House(), (per_minute("rate", 2),)
        for _ in range(2):
            await house.admit(person(), meters)
        admission = await house.admit(person("Bob", waits=70), meters)
        assert 60 <= admission.waited_seconds < 61.1  # a window frees up to a sixtieth late
        assert house.tries < 130

    run(main())


def test_room_that_another_process_makes_is_found_within_a_second() -> None:
    async def main() -> None:
        house = House()
        first = await house.admit(person())
        second = await come(house, person("Bob"))
        await asyncio.sleep(5)
        house.store.settle(Settlement(first.want, first.granted.at_ms, (0,)))
        began = now()
        await second
        assert now() - began <= 1

    run(main())


def test_the_head_alone_asks() -> None:
    async def main() -> None:
        house = House()
        first = await house.admit(person())
        waiting = [await come(house, person(str(number))) for number in range(200)]
        house.tries = 0
        await asyncio.sleep(10)
        assert house.tries <= 21
        house.settle(first)
        await asyncio.gather(waiting[0])
        assert house.tries <= 23
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        house.assert_it_is_empty()

    run(main())


def test_who_comes_later_does_not_overtake() -> None:
    """Not even in the moment in which there is room again."""

    async def main() -> None:
        house = House()
        first = await house.admit(person())
        second = await come(house, person("second"))
        house.settle(first)
        third = await come(house, person("third"))
        assert (await second) is not None
        assert not third.done()
        house.settle(second.result())
        await third
        assert house.admitted == ["Ada", "second", "third"]

    run(main())


def test_who_may_not_wait_is_refused_while_others_wait() -> None:
    async def main() -> None:
        house = House()
        first = await house.admit(person())
        second = await come(house, person("second"))
        house.settle(first)
        error = await refused(go(house.admit(person("hasty", waits=0))))
        assert isinstance(error, LimitReached)
        assert "the credential may use 1" in error.message
        assert error.waited_seconds == 0
        await second

    run(main())


def test_a_key_whose_own_limit_is_full_holds_up_nobody() -> None:
    async def main() -> None:
        house, own, shared = House(), per_minute("Ada's own"), places("shared", 2)
        ada = key("Ada", waits=120)
        await house.carry(asker(ada), 1, (own, shared))
        blockers = [await house.admit(person("long"), (shared,)) for _ in range(2)]
        ada_again = await come(house, asker(ada), (own, shared))
        bob = await come(house, person("Bob"), (per_minute("Bob's own"), shared))
        house.settle(blockers[0])
        await bob
        assert not ada_again.done()
        await ada_again  # shared has a place for it, and a minute later its own limit has

    run(main())


def test_the_head_that_turns_out_to_lack_something_else_makes_way() -> None:
    async def main() -> None:
        house, own, shared = House(), places("Ada's own"), places("shared")
        ada = key("Ada")
        running = await house.admit(person("long"), (shared,))
        first = await come(house, asker(ada), (own, shared))
        bob = await come(house, person("Bob"), (shared,))
        blocker = await house.admit(
            person("other"), (own,)
        )  # Ada's own is full now, while she waits for the shared one
        house.settle(running)
        house.settle(await bob)
        assert not first.done()
        house.settle(blocker)
        await first
        house.assert_it_is_empty()

    run(main())


def test_a_line_of_its_own_is_no_short_cut_past_another() -> None:
    """Ada's background work waits for Ada's own place, Bob for the credential: both are free in the same moment."""

    async def main() -> None:
        house, own = House(), places("Ada's own")
        ada = key("Ada")
        running = await house.admit(asker(ada), (own, CREDENTIAL))
        night = await come(house, asker(ada, is_background=True), (own, CREDENTIAL))
        bob = await come(house, person("Bob"), (CREDENTIAL,))
        assert set(house.room._lines) == {"Ada's own", "the credential"}
        house.settle(running)
        house.settle(await bob)
        await night
        assert house.admitted == ["Ada", "Bob", "Ada"]

    run(main())


def test_background_work_waits_behind_people() -> None:
    async def main() -> None:
        house = House()
        first = await house.admit(person())
        night = await come(house, asker(key("night"), is_background=True))
        day = await come(house, person("day"))
        house.settle(first)
        house.settle(await day)
        await night
        assert house.admitted == ["Ada", "day", "night"]
        assert house.counted("nexus_limit_waits_total", priority="background", ending="admitted") == 1
        assert house.counted("nexus_limit_waits_total", priority="interactive", ending="admitted") == 1

    run(main())


def test_background_work_in_line_does_not_hold_up_people() -> None:
    async def main() -> None:
        house = House()
        running = await house.admit(person())
        night = await come(house, asker(key("night"), is_background=True))
        house.settle(running)
        assert (await house.admit(person("day"))).waited_seconds == 0
        night.cancel()
        await asyncio.gather(night, return_exceptions=True)

    run(main())


def test_a_wait_ends_with_the_keys_time_and_says_how_long_it_was() -> None:
    async def main() -> None:
        house = House()
        await house.admit(person())
        waiting = [await come(house, person(str(seconds), waits=seconds)) for seconds in (3, 20, 5)]
        for task, seconds in zip(waiting, (3, 20, 5), strict=True):
            error = await refused(task)
            assert isinstance(error, LimitReached)
            assert error.waited_seconds == pytest.approx(seconds)
            assert error.message.count("has waited for") == 1
            assert f"has waited for {seconds} s" in error.message
            assert error.retry_after_seconds == 1
        house.assert_it_is_empty()
        assert house.counted("nexus_limit_waits_total", priority="interactive", ending="refused") == 3
        assert house.counted("nexus_limit_waiting", priority="interactive") == 0
        assert house.counted("nexus_limit_wait_seconds_sum", priority="interactive") == pytest.approx(28)

    run(main())


def test_a_wait_in_vain_is_none() -> None:
    """In a minute there is room: not for whoever waits for half of it, and not for who hears of it later."""

    async def main() -> None:
        house, meters = House(), (per_minute("rate"),)
        await house.admit(person(), meters)
        await asyncio.sleep(1)
        error = await refused(go(house.admit(person(waits=30), meters)))
        assert isinstance(error, LimitReached)
        assert error.waited_seconds == 0
        assert error.retry_after_seconds in (60, 61)
        patient = await come(house, person("patient", waits=90), meters)
        error = await refused(go(house.admit(person(waits=30), meters)))
        assert error.waited_seconds == 0
        await patient

    run(main())


def test_who_learns_while_it_waits_that_it_is_in_vain_is_told_at_once() -> None:
    async def main() -> None:
        house, own = House(), per_minute("own")
        ada = key("Ada", waits=30)
        running = await house.admit(person("long"))
        waiting = await come(house, asker(ada), (own, CREDENTIAL))
        await house.carry(asker(ada), 0, (own,))
        error = await refused(waiting)
        assert error.refused_by == "key requests per minute"
        assert error.waited_seconds <= 1
        house.settle(running)

    run(main())


def test_a_full_room_refuses() -> None:
    async def main() -> None:
        house = House(max_waiting=2)
        first = await house.admit(person())
        waiting = [await come(house, person(str(number))) for number in range(2)]
        error = await refused(go(house.admit(person("third"))))
        assert error.waited_seconds == 0
        house.settle(first)
        await waiting[0]
        waiting.append(await come(house, person("fourth")))
        house.settle(waiting[0].result())
        house.settle(await waiting[1])
        await waiting[2]

    run(main())


@pytest.mark.parametrize("position", [0, 1, 2])
def test_who_leaves_is_gone_at_once_and_the_next_comes_up(position: int) -> None:
    async def main() -> None:
        house = House()
        first = await house.admit(person())
        waiting = [await come(house, person(str(number))) for number in range(3)]
        leaving = waiting.pop(position)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert house.room.waiting == 2
        assert house.counted("nexus_limit_waits_total", priority="interactive", ending="left") == 1
        house.settle(first)
        for task in waiting:
            house.settle(await task)
        house.assert_it_is_empty()

    run(main())


def test_who_leaves_in_the_moment_of_asking_stops_nobody() -> None:
    async def main() -> None:
        house, gate = House(), asyncio.Event()
        running = await house.admit(person())
        asked = asyncio.Event()

        async def slow() -> Admission:
            asked.set()
            await gate.wait()
            raise AssertionError

        ada = person()
        wanted = Want(ada.id, (CREDENTIAL,), (1,))
        reached = await refused(go(house.admit(person(waits=0))))
        assert isinstance(reached, LimitReached)
        leaving = go(house.room.wait(ada, wanted, reached, slow, None))
        await asked.wait()
        bob = await come(house, person("Bob"))
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        house.settle(running)
        await bob
        house.assert_it_is_empty()

    run(main())


def test_what_ends_while_the_head_asks_is_not_missed() -> None:
    async def main() -> None:
        house, asked = House(), asyncio.Event()
        answers: list[Callable[[], Admission]] = []

        async def slow() -> Admission:
            had_room = bool(answers)
            asked.set()
            await asyncio.sleep(0.2)
            if had_room:
                return answers.pop()()
            raise LimitReached("It is full.", "places", 1, CREDENTIAL.key)

        ada = person()
        wanted = Want(ada.id, (CREDENTIAL,), (1,))
        await house.admit(person())
        reached = LimitReached("It is full.", "places", 1, CREDENTIAL.key)
        waiting = go(house.room.wait(ada, wanted, reached, slow, None))
        await asked.wait()
        began = now()
        house.room.something_ended(wanted)  # it has asked already: this asks again
        await asyncio.sleep(0.01)
        answers.append(lambda: Admission(wanted, Granted(0, (1,))))
        await waiting
        assert now() - began < 0.45

    run(main())


def test_a_process_that_is_stopped_sends_them_all_away() -> None:
    async def main() -> None:
        house = House()
        await house.admit(person())
        waiting = [await come(house, person(str(number))) for number in range(3)]
        began = now()
        house.room.stop()
        for task in waiting:
            error = await refused(task)
            assert isinstance(error, Stopping)
            assert (error.status, error.may_retry) == (503, True)
        assert isinstance(await refused(go(house.admit(person("late")))), Stopping)
        assert now() == began
        house.assert_it_is_empty()
        assert house.counted("nexus_limit_waits_total", priority="interactive", ending="stopped") == 4

    run(main())


def test_a_budget_that_is_spent_meanwhile_ends_the_wait() -> None:
    async def main() -> None:
        house = House()

        async def try_() -> Admission:
            raise BudgetSpent("It is spent.", "budget Team", None)

        reached = LimitReached("It is full.", "places", 1, "places")
        asking = person()
        error = await refused(go(house.room.wait(asking, Want(new_id(), (), ()), reached, try_, None)))
        assert isinstance(error, BudgetSpent)
        assert "has waited for 1 s" in error.message
        assert house.counted("nexus_limit_waits_total", priority="interactive", ending="refused") == 1

    run(main())


def test_its_client_hears_that_it_waits_from_time_to_time() -> None:
    async def main() -> None:
        house, told = House(), list[float]()

        async def say() -> None:
            told.append(now())

        first = await house.admit(person())
        waiting = [go(house.admit(person(waits=120), say=say)) for _ in range(2)]
        await asyncio.sleep(24)
        assert told == [10, 10, 20, 20]
        house.settle(first)
        house.settle(await waiting[0])
        await waiting[1]

    run(main())


def test_a_client_that_takes_nothing_any_more_has_left() -> None:
    async def main() -> None:
        house = House()

        async def say() -> None:
            raise ClientGone

        await house.admit(person())
        with pytest.raises(ClientGone):
            await house.admit(person(), say=say)
        assert house.counted("nexus_limit_waits_total", priority="interactive", ending="left") == 1
        house.assert_it_is_empty()

    run(main())


def test_keys_share_a_credential_by_their_weights() -> None:
    async def main() -> None:
        house = House()
        keys = [key("small", weight=1), key("middle", weight=3), key("large", weight=6)]

        async def worker(of: ClientKeyFacts) -> None:
            while len(house.admitted) < 100:
                await house.carry(asker(of), 1)

        await asyncio.gather(*(worker(each) for each in keys for _ in range(3)))
        served = house.admitted[3:100]
        for name, share in (("small", 0.1), ("middle", 0.3), ("large", 0.6)):
            assert abs(served.count(name) - share * len(served)) <= 2

    run(main())


METERS = (places("A"), places("B", 2), per_minute("C", 3), places("D"), per_minute("E", 5))
REQUEST = st.tuples(
    st.floats(0, 60),  # comes at
    st.integers(0, 3),  # key
    st.frozensets(st.integers(0, 4), min_size=1, max_size=3),  # meters
    st.floats(0, 20),  # runs for
    st.booleans(),  # background
    st.sampled_from([None, None, None, 1.5, 15.0]),  # leaves after
)


@settings(max_examples=150, deadline=None)
@given(requests=st.lists(REQUEST, min_size=2, max_size=40), waits=st.sampled_from([5, 40, 300]), seed=st.integers())
def test_whoever_comes_and_goes_nobody_is_forgotten_and_no_room_is_left_unused(
    requests: list[tuple[float, int, frozenset[int], float, bool, float | None]], waits: int, seed: int
) -> None:
    async def main() -> None:
        house = House()
        keys = [key(str(number), weight=number + 1, waits=waits) for number in range(4)]
        waiting: dict[Any, tuple[Meter, ...]] = {}

        async def one(at: float, who: int, which: frozenset[int], runs: float, background: bool, leaves: Any) -> None:
            await asyncio.sleep(at)
            asking, meters = asker(keys[who], is_background=background), tuple(METERS[each] for each in sorted(which))
            waiting[asking.id] = meters
            began, admission = now(), None
            with contextlib.suppress(LimitReached, TimeoutError):
                async with asyncio.timeout(leaves):
                    admission = await house.admit(asking, meters)
            del waiting[asking.id]
            assert now() - began <= waits + 0.001
            if admission is not None:
                assert admission.waited_seconds == pytest.approx(now() - began)
                await asyncio.sleep(runs)
                house.settle(admission)

        async def watch() -> None:
            """Whoever waits for longer than a head sleeps waits for something that is full."""
            idle: dict[Any, float] = {}
            while True:
                await asyncio.sleep(0.25)
                idle = {
                    each: idle.get(each, now())
                    for each, wanted in list(waiting.items())
                    if await house.has_room(wanted)
                }
                assert all(now() - since <= 2.1 for since in idle.values())

        watching = asyncio.ensure_future(watch())
        await asyncio.gather(*(one(*request) for request in requests))
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        house.assert_it_is_empty()
        assert sum(use.used for use in await house.store.read(METERS) if not use.meter.is_window) == 0

    random.seed(seed)
    run(main())
