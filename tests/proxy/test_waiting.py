"""Who waits for room in a limit, and in which order room is given."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from accounts.facts import ClientKeyFacts, DomainFacts
from accounts.ids import new_id
from proxy.admission import Admission, Asker
from proxy.errors import BudgetSpent, LimitReached
from proxy.estimates import NOTHING
from proxy.waiting import Line, Place, WaitingRoom, nothing
from telemetry.limits.meters import Dimension, Meter
from telemetry.limits.store import Granted, Want
from telemetry.metrics.waiting import WaitingMetrics

DOMAIN = DomainFacts(new_id(), "claude.example.com", True, False)
Try = Callable[[], Awaitable[Admission]]


def key(name: str, *, weight: int = 1, waits: int = 60) -> ClientKeyFacts:
    return ClientKeyFacts(new_id(), name, DOMAIN, "", None, None, max_wait_seconds=waits, weight=weight)


def asker(of: ClientKeyFacts, *, is_background: bool = False) -> Asker:
    return Asker(
        id=new_id(),
        key=of,
        credential_id=None,
        model="",
        user_id="",
        session_id="",
        estimate=NOTHING,
        is_background=is_background,
    )


def full(meter: str = "places", seconds: int = 1) -> LimitReached:
    return LimitReached("It is full.", meter, seconds, meter)


def meter(name: str = "places") -> Meter:
    return Meter(key=name, dimension=Dimension.CONCURRENT, limit=1, scope="credential", label="main")


def want(*names: str) -> Want:
    return Want(new_id(), tuple(map(meter, names or ("places",))), tuple(1 for _ in names or ("places",)))


def room(max_waiting: int = 100) -> WaitingRoom:
    return WaitingRoom(max_waiting, WaitingMetrics(CollectorRegistry()))


def served_in_order(places: list[Place]) -> list[Place]:
    line = Line()
    for place in places:
        line.enter(place)
    order = []
    while len(line):
        head = next(place for place in places if place not in order and line.is_head(place))
        order.append(head)
        line.leave(head, served=True)
    return order


def test_of_one_key_the_first_comes_first() -> None:
    ada = key("Ada")
    places = [Place(asker(ada), full()) for _ in range(5)]
    assert served_in_order(places) == places


def test_people_go_before_background_work() -> None:
    ada = key("Ada")
    background = [Place(asker(ada, is_background=True), full()) for _ in range(2)]
    person = Place(asker(key("Bob")), full())
    assert served_in_order([*background, person]) == [person, *background]


@given(weights=st.lists(st.integers(1, 10), min_size=2, max_size=4))
def test_keys_that_always_wait_are_served_by_their_weights(weights: list[int]) -> None:
    """To within a request each."""
    keys = [key(str(weight), weight=weight) for weight in weights]
    rounds = 4
    places = [
        Place(asker(each), full()) for each, weight in zip(keys, weights, strict=True) for _ in range(rounds * weight)
    ]
    order = served_in_order(places)
    for count in range(1, len(order)):
        served = Counter(place.asker.key.id for place in order[:count])
        for each, weight in zip(keys, weights, strict=True):
            assert abs(served[each.id] - count * weight / sum(weights)) <= len(weights)


@pytest.mark.anyio
async def test_the_head_alone_asks_and_each_is_served_in_turn() -> None:
    places, running = room(), itertools.count()
    taken = True
    asked: list[UUID] = []
    admitted: list[UUID] = []

    def try_of(wanted: Want) -> Try:
        async def try_() -> Admission:
            nonlocal taken
            asked.append(wanted.id)
            if taken:
                raise full()
            taken = True
            admitted.append(wanted.id)
            next(running)
            return Admission(wanted, Granted(0, (1,)))

        return try_

    wants = [want() for _ in range(4)]
    ada = key("Ada")
    tasks = [asyncio.create_task(places.wait(asker(ada), each, full(), try_of(each), nothing)) for each in wants]
    for number in range(4):
        async with asyncio.timeout(5):
            taken = False
            places.something_ended(wants[0])
            await tasks[number]
    assert admitted == [each.id for each in wants]
    assert asked.count(wants[3].id) <= 3  # while others were ahead of it, it did not ask
    assert places.waiting == 0
    assert not places._lines


@pytest.mark.anyio
async def test_who_wants_something_else_does_not_wait_behind_them() -> None:
    places = room()
    waiting = asyncio.create_task(places.wait(asker(key("Ada")), want(), full(), _never, nothing))
    await asyncio.sleep(0)
    assert places.barrier(want("other"), asker(key("Bob"))) is None
    assert places.barrier(want("other", "places"), asker(key("Bob"))) is not None
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert places.barrier(want(), asker(key("Bob"))) is None
    assert places.waiting == 0


async def _never() -> Admission:
    raise full()


@pytest.mark.anyio
async def test_background_work_in_line_does_not_hold_up_people() -> None:
    places = room()
    waiting = asyncio.create_task(places.wait(asker(key("CI"), is_background=True), want(), full(), _never, nothing))
    await asyncio.sleep(0)
    assert places.barrier(want(), asker(key("Ada"))) is None
    assert places.barrier(want(), asker(key("CI 2"), is_background=True)) is not None
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


@pytest.mark.anyio
async def test_a_wait_ends_with_the_keys_time_and_says_how_long_it_was() -> None:
    with pytest.raises(LimitReached) as refused:
        await room().wait(asker(key("Ada", waits=1)), want(), full(), _never, nothing)
    assert 900 < refused.value.waited_ms < 1900
    assert "has waited for 1 s" in refused.value.message


@pytest.mark.anyio
@pytest.mark.parametrize(("waits", "reached", "max_waiting"), [(0, full(), 9), (5, full(seconds=6), 9), (5, full(), 0)])
async def test_a_wait_that_is_not_allowed_or_in_vain_is_none(
    waits: int, reached: LimitReached, max_waiting: int
) -> None:
    with pytest.raises(LimitReached) as refused:
        await room(max_waiting).wait(asker(key("Ada", waits=waits)), want(), reached, _never, nothing)
    assert refused.value is reached
    assert refused.value.waited_ms == 0


@pytest.mark.anyio
async def test_a_budget_that_is_spent_meanwhile_ends_the_wait() -> None:
    async def try_() -> Admission:
        raise BudgetSpent("It is spent.", "budget Team", None)

    with pytest.raises(BudgetSpent):
        await room().wait(asker(key("Ada")), want(), full(), try_, nothing)


@pytest.mark.anyio
async def test_who_finds_another_limit_full_goes_on_waiting_for_that_one() -> None:
    places = room()
    answers = iter([full("other"), full("other"), None])

    async def try_() -> Admission:
        if (refused := next(answers)) is not None:
            raise refused
        return Admission(want(), Granted(0, (1,)))

    waiting = asyncio.create_task(places.wait(asker(key("Ada")), want("places", "other"), full(), try_, nothing))
    seen = set()
    async with asyncio.timeout(5):
        while not waiting.done():
            seen |= set(places._lines)
            await asyncio.sleep(0)
    assert "other" in seen


@pytest.mark.anyio
async def test_it_is_told_from_time_to_time_that_it_waits() -> None:
    told = 0

    async def on_wait() -> None:
        nonlocal told
        told += 1

    with pytest.raises(LimitReached):
        await room().wait(asker(key("Ada", waits=2)), want(), full(), _never, on_wait)
    assert told >= 2
