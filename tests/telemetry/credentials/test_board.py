"""What a process knows of its credentials, and what it tells others: `telemetry.credentials.board`."""

from telemetry.credentials.board import BINDINGS_MAX, Board
from telemetry.credentials.conf import CircuitConf, CoolingConf
from telemetry.credentials.events import Event, Message, decode, encode

NOW = 1_800_000_000.0
LIMITED = [(b"retry-after", b"60")]


def board() -> Board:
    return Board(CircuitConf(), CoolingConf(max_seconds=3600, unsaid_seconds=10))


def say(board: Board, status: int, now: float = NOW, family: str = "haiku", headers: object = ()) -> None:
    trial = board.begin("a", family, now)
    board.answered("a", family, status, headers, now, trial)  # type: ignore[arg-type]


def test_429_rests_one_family_until_the_api_said() -> None:
    known = board()
    say(known, 429, headers=LIMITED)
    assert known.cooling("a", "haiku", NOW + 59)
    assert known.cooling("a", "opus", NOW) is None
    assert known.cooling("a", "haiku", NOW + 60) is None


def test_then_one_call_tries_and_the_others_wait_for_it() -> None:
    known = board()
    say(known, 429, headers=LIMITED)
    trial = known.begin("a", "haiku", NOW + 61)
    assert trial.cooling
    assert known.cooling("a", "haiku", NOW + 61)
    known.gave_up("a", "haiku", trial)
    assert known.cooling("a", "haiku", NOW + 61) is None
    say(known, 200, NOW + 62)
    assert known.health("a").coolings == {}


def test_answers_of_calls_that_began_before_change_nothing() -> None:
    known = board()
    trial = known.begin("a", "haiku", NOW)
    say(known, 429, headers=LIMITED)
    known.answered("a", "haiku", 200, (), NOW + 1, trial)
    assert known.cooling("a", "haiku", NOW + 2)


def test_a_call_that_was_chosen_before_the_limit_was_heard_of_tries_nothing() -> None:
    known = board()
    say(known, 429, headers=LIMITED)
    trial = known.begin("a", "haiku", NOW + 1)
    known.answered("a", "haiku", 200, (), NOW + 2, trial)
    assert known.cooling("a", "haiku", NOW + 3)


def test_without_a_word_of_the_api_it_waits_longer_each_time() -> None:
    known, now, waits = board(), NOW, []
    for _ in range(4):
        say(known, 429, now)
        cooling = known.health("a").coolings["haiku"]
        waits.append(round(cooling.until - now))
        now = cooling.until
    assert waits == [10, 20, 40, 80]


def test_a_limit_that_frees_in_days_is_tried_in_an_hour() -> None:
    known = board()
    say(known, 429, headers=[(b"retry-after", b"600000")])
    assert known.cooling("a", "haiku", NOW + 3599)
    assert known.cooling("a", "haiku", NOW + 3600) is None


def test_only_failures_open_the_circuit() -> None:
    known = board()
    for status in (400, 401, 403, 404, 413, 429, 529) * 10:
        say(known, status)
    assert known.open_until("a", NOW) is None
    for _ in range(5):
        say(known, 502)
    assert known.open_until("a", NOW) == NOW + 30
    assert known.open_until("b", NOW) is None


def test_another_board_comes_to_the_same_state_by_what_it_is_told() -> None:
    first, second = board(), board()
    for _ in range(5):
        say(first, 500, family="opus")
    say(first, 429, headers=[*LIMITED, (b"anthropic-ratelimit-requests-limit", b"10")])
    first.bind("session", "a")
    first.own("file_1", "a")
    for event in _carried(first.take_news()):
        second.hear(event, NOW)
    assert second.open_until("a", NOW) == first.open_until("a", NOW)
    assert second.cooling("a", "haiku", NOW)
    assert second.limits("a")["haiku"].windows[0].limit == 10
    assert (second.bound("session"), second.owner("file_1")) == ("a", "a")
    assert second.health("a").circuit.counts(NOW) == (6, 5)
    third = board()
    third.restore(_carried(first.state()), NOW)
    assert third.open_until("a", NOW) == first.open_until("a", NOW)
    second.reset("a", NOW + 1)
    for event in _carried(second.take_news()):
        first.hear(event, NOW + 1)
    assert first.open_until("a", NOW + 1) is None
    assert first.cooling("a", "haiku", NOW + 1) is None


def _carried(events: list[Event]) -> list[Event]:
    return decode(encode(Message("x", events))).events


def test_calls_are_told_once() -> None:
    known = board()
    say(known, 200)
    assert len(known.take_news()) == 1
    assert known.take_news() == []


def test_forgetting_is_for_one_or_for_all() -> None:
    known = board()
    known.bind("s1", "a")
    known.bind("s2", "b")
    known.forget("a")
    assert (known.bound("s1"), known.bound("s2")) == (None, "b")
    known.forget("")
    assert known.bound("s2") is None


def test_what_it_remembers_has_a_bound() -> None:
    known = board()
    for number in range(BINDINGS_MAX + 10):
        known.bind(str(number), "a")
    assert known.bound("0") is None
    assert known.bound(str(BINDINGS_MAX + 9)) == "a"
    assert len(known.news) <= known.news.maxlen  # type: ignore[operator]
