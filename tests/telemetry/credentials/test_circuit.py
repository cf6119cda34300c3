"""When a circuit opens, is tried and closes: `telemetry.credentials.circuit`."""

from hypothesis import given
from hypothesis import strategies as st

from telemetry.credentials.circuit import Circuit, CircuitState, Opening
from telemetry.credentials.conf import CircuitConf

CONF = CircuitConf()
NOW = 1_800_000_000.0


def opened(now: float = NOW) -> Circuit:
    circuit = Circuit(CONF)
    told = [circuit.failed(now, "no answer", was_trial=False) for _ in range(5)]
    assert told == [False] * 4 + [True]
    return circuit


def test_five_failures_in_a_row_open_it_for_thirty_seconds() -> None:
    circuit = opened()
    assert circuit.state(NOW) is CircuitState.OPEN
    assert not circuit.admits(NOW + 29.9)
    assert circuit.state(NOW + 30) is CircuitState.HALF_OPEN
    assert circuit.opening.reason == "no answer"


def test_a_success_between_them_begins_the_row_anew() -> None:
    circuit = Circuit(CircuitConf(error_percentage=100))
    for _ in range(50):
        for _ in range(4):
            assert not circuit.failed(NOW, "x", was_trial=False)
        for _ in range(5):
            circuit.succeeded(NOW, was_trial=False)
    assert circuit.state(NOW) is CircuitState.CLOSED


def test_half_of_ten_calls_within_a_minute_open_it_too() -> None:
    circuit = Circuit(CONF)
    for number in range(9):
        circuit.failed(NOW, "x", was_trial=False) if number % 2 else circuit.succeeded(NOW, was_trial=False)
    assert circuit.state(NOW) is CircuitState.CLOSED
    assert circuit.failed(NOW, "x", was_trial=False)


def test_what_is_older_than_a_minute_does_not_count() -> None:
    circuit = Circuit(CONF)
    for _ in range(4):
        circuit.failed(NOW, "x", was_trial=False)
    circuit.succeeded(NOW, was_trial=False)
    for _ in range(4):
        assert not circuit.failed(NOW + 70, "x", was_trial=False)
    assert circuit.counts(NOW + 70) == (4, 4)


def test_half_open_one_call_at_a_time_tries_it_and_three_successes_close_it() -> None:
    circuit = opened()
    later = NOW + 31
    for number in range(3):
        assert circuit.begin(later)
        assert not circuit.admits(later)
        assert not circuit.begin(later)
        assert circuit.succeeded(later, was_trial=True)
        assert (circuit.state(later) is CircuitState.CLOSED) is (number == 2)
    assert circuit.counts(later) == (0, 0)


def test_a_trial_that_fails_opens_it_again_and_one_that_tells_nothing_frees_the_place() -> None:
    circuit = opened()
    later = NOW + 31
    assert circuit.begin(later)
    circuit.give_up()
    assert circuit.begin(later)
    assert circuit.failed(later, "still", was_trial=True)
    assert circuit.opening.until == later + 30
    assert circuit.opening.opened_at == NOW


def test_what_others_say_counts_when_it_is_later() -> None:
    circuit, other = Circuit(CONF), opened()
    circuit.told(other.opening)
    assert circuit.state(NOW) is CircuitState.OPEN
    circuit.told(Opening(NOW - 1))
    assert circuit.state(NOW) is CircuitState.OPEN
    circuit.told(Opening(NOW + 1))
    assert circuit.state(NOW + 1) is CircuitState.CLOSED


def test_failures_that_others_had_count_with_ours() -> None:
    circuit = Circuit(CONF)
    circuit.heard(NOW, 4, 4)
    assert circuit.failed(NOW, "x", was_trial=False)


steps = st.lists(st.tuples(st.sampled_from(["ok", "fail", "begin", "give up"]), st.floats(0, 40)), max_size=60)


@given(steps)
def test_it_never_stays_shut_for_ever(found: list[tuple[str, float]]) -> None:
    """Whatever happens, half a minute and a trial later it admits a call; and at most one tries at a time."""
    circuit, now, trying = Circuit(CONF), NOW, False
    for step, seconds in found:
        now += seconds
        if step == "begin":
            began = circuit.begin(now)
            assert not (began and trying)
            trying = trying or began
        elif step == "give up":
            circuit.give_up()
            trying = False
        elif step == "ok":
            circuit.succeeded(now, was_trial=trying)
            trying = False
        else:
            circuit.failed(now, "x", was_trial=trying)
            trying = False
    circuit.give_up()
    assert circuit.admits(now + CONF.open_seconds)
