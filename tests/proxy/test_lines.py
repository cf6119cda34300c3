"""Whose turn it is in a line."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from accounts.facts import ClientKeyFacts, DomainFacts
from accounts.ids import new_id
from proxy.admission import Asker
from proxy.errors import LimitReached
from proxy.estimates import NOTHING
from proxy.lines import Line, Place
from telemetry.limits.store import Want

DOMAIN = DomainFacts(new_id(), "claude.example.com", True, False)
FULL = LimitReached("It is full.", "places", 1, "places")


def key(name: str = "Ada", *, weight: int = 1, waits: int = 60) -> ClientKeyFacts:
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


class Queue:
    """A line, and who comes into it: numbered as they come."""

    def __init__(self) -> None:
        self.line = Line(FULL, 0.0)
        self._number = 0

    def come(self, of: ClientKeyFacts, *, is_background: bool = False) -> Place:
        self._number += 1
        place = Place(asker(of, is_background=is_background), Want(new_id(), (), ()), self._number, 0.0)
        self.line.enter(place)
        return place

    def serve(self) -> Place:
        place = self.line.head
        assert place is not None
        self.line.charge(place)
        self.line.leave(place, 0.0)
        return place

    def serve_all(self) -> list[Place]:
        return [self.serve() for _ in range(len(self.line))]


def test_of_one_key_the_first_comes_first() -> None:
    queue, ada = Queue(), key()
    places = [queue.come(ada) for _ in range(5)]
    assert queue.serve_all() == places


def test_who_comes_back_from_another_line_is_where_it_was() -> None:
    queue, ada = Queue(), key()
    first, second = queue.come(ada), queue.come(ada)
    queue.line.leave(first, 0.0)
    queue.line.enter(first)
    assert queue.serve_all() == [first, second]


def test_people_go_before_background_work() -> None:
    queue, ada = Queue(), key()
    background = [queue.come(ada, is_background=True) for _ in range(2)]
    people = [queue.come(key("Bob")), queue.come(ada)]
    assert queue.serve_all() == [*people, *background]


def test_keys_of_the_same_weight_take_turns_whoever_came_with_more() -> None:
    queue, greedy, modest = Queue(), key("greedy"), key("modest")
    for _ in range(5):
        queue.come(greedy)
    for _ in range(2):
        queue.come(modest)
    assert [place.asker.key.name for place in queue.serve_all()][:4] == ["greedy", "modest", "greedy", "modest"]


def test_who_was_away_has_saved_up_nothing() -> None:
    queue, steady, late = Queue(), key("steady"), key("late")
    for _ in range(20):
        queue.come(steady)
    for _ in range(10):
        queue.serve()
    for _ in range(10):
        queue.come(late)
    assert [place.asker.key.name for place in queue.serve_all()].count("late") == 10
    for _ in range(8):
        queue.come(steady)
        queue.come(late)
    served = [queue.serve().asker.key.name for _ in range(8)]
    assert served.count("late") == served.count("steady") == 4


def test_who_leaves_has_had_no_turn() -> None:
    queue, fickle, steady = Queue(), key("fickle"), key("steady")
    for _ in range(50):
        queue.line.leave(queue.come(fickle), 0.0)
    expected = [queue.come(fickle), queue.come(steady), queue.come(fickle)]
    assert queue.serve_all() == expected


def _is_proportional(served: Sequence[int], weights: Sequence[int]) -> bool:
    """To within one request each: one share of the whole explains them all."""
    least = max((count - 1) / weight for count, weight in zip(served, weights, strict=True))
    most = min((count + 1) / weight for count, weight in zip(served, weights, strict=True))
    return least <= most + 1e-9


@given(
    weights=st.lists(st.integers(1, 100), min_size=2, max_size=6),
    depths=st.lists(st.integers(1, 4), min_size=6, max_size=6),
    passers_by=st.lists(st.booleans(), max_size=150),
)
def test_keys_that_always_wait_are_served_by_their_weights_to_within_a_request_each(
    weights: list[int], depths: list[int], passers_by: list[bool]
) -> None:
    """Whoever else comes, is served, or leaves between them."""
    queue = Queue()
    keys = [key(str(number), weight=weight) for number, weight in enumerate(weights)]
    for each, depth in zip(keys, depths, strict=False):
        for _ in range(depth):
            queue.come(each)
    served = dict.fromkeys((each.id for each in keys), 0)
    for stays in passers_by or [False] * 100:
        passer_by = queue.come(key("passer-by"))
        if not stays:
            queue.line.leave(passer_by, 0.0)
        now_served = queue.serve().asker.key
        if now_served.id in served:
            served[now_served.id] += 1
            queue.come(now_served)
        assert _is_proportional(list(served.values()), weights), served


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=60))
def test_of_each_key_and_class_the_first_comes_first_whatever_the_order(
    arrivals: list[tuple[int, bool, bool]],
) -> None:
    queue = Queue()
    keys = [key(str(number), weight=number + 1) for number in range(4)]
    served: list[Place] = []
    for number, is_background, serves in arrivals:
        queue.come(keys[number], is_background=is_background)
        if serves:
            served.append(queue.serve())
    served += queue.serve_all()
    for each in keys:
        for is_background in (False, True):
            numbers = [
                place.number
                for place in served
                if place.asker.key is each and place.asker.is_background is is_background
            ]
            assert numbers == sorted(numbers)


def test_background_work_is_ahead_of_no_person() -> None:
    queue = Queue()
    queue.come(key("CI"), is_background=True)
    assert not queue.line.is_ahead_of(asker(key("Ada")), 99)
    assert queue.line.is_ahead_of(asker(key("CI 2"), is_background=True), 99)
    queue.come(key("Ada"))
    assert queue.line.is_ahead_of(asker(key("Bob")), 99)
    assert not queue.line.is_ahead_of(asker(key("Bob")), 0)
