import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise

import pytest
from django.contrib.auth.models import User
from django.db import connection
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from telemetry.models import Delivery, Incident, IncidentStep, Severity
from telemetry.models.incidents import State
from telemetry.notices import incidents
from telemetry.notices.finding import Finding
from telemetry.notices.incidents import acknowledge, apply, evaluate, look, resolve
from tests.telemetry.notices.incidents import (
    Scripted,
    at,
    each_step_was_told_once,
    finding,
    steps_of,
)
from tests.telemetry.notices.told import FAKE_WEBHOOK, configure

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def slack(settings: Settings) -> None:
    configure(settings, webhook_url=FAKE_WEBHOOK)


def only() -> Incident:
    return Incident.objects.get()


def evaluated(*findings: Finding, seconds: float) -> Incident:
    """The one incident after an evaluation that finds this."""
    evaluate([Scripted(findings)], at(seconds))
    return only()


def test_what_is_found_is_told_once_however_long_it_lasts() -> None:
    for seconds in range(0, 7200, 30):
        evaluate([Scripted([finding()])], at(seconds))
    assert steps_of(only()) == ["opened"]
    assert only().evaluations == 240
    assert each_step_was_told_once()


def test_what_is_absent_twice_is_over() -> None:
    evaluated(finding(), seconds=0)
    assert evaluated(seconds=30).state == State.OPEN
    incident = evaluated(seconds=60)
    assert (incident.state, incident.resolved_at) == (State.RESOLVED, at(60))
    assert steps_of(incident) == ["opened", "resolved"]
    assert each_step_was_told_once()


def test_what_is_absent_once_goes_on() -> None:
    for seconds, found in ((0, True), (30, False), (60, True), (90, False), (120, True)):
        evaluate([Scripted([finding()] if found else [])], at(seconds))
    assert steps_of(only()) == ["opened"]


def test_nobody_looked_for_long_and_it_is_gone() -> None:
    evaluated(finding(), seconds=0)
    assert evaluated(seconds=600).state == State.RESOLVED


def test_two_workers_at_the_same_moment_have_looked_once() -> None:
    evaluated(finding(), seconds=0)
    evaluated(seconds=30)
    assert evaluated(seconds=31).state == State.OPEN
    assert evaluated(seconds=60).state == State.RESOLVED


def test_a_changed_sentence_is_told_every_half_hour_at_most() -> None:
    told = []
    for seconds in range(0, 3700, 30):
        told = steps_of(evaluated(finding(sentence=f"It is {seconds} now."), seconds=seconds))
    assert told == ["opened", "changed", "changed"]
    assert only().sentence == "It is 3690 now."
    assert each_step_was_told_once()


def test_a_sentence_that_changed_back_is_no_news() -> None:
    evaluated(finding(), seconds=0)
    evaluated(finding(sentence="Another."), seconds=30)
    assert steps_of(evaluated(finding(), seconds=1830)) == ["opened"]


def test_what_changed_once_is_told_once() -> None:
    evaluated(finding(), seconds=0)
    for seconds in range(30, 7200, 30):
        evaluate([Scripted([finding(sentence="Another.")])], at(seconds))
    assert steps_of(only()) == ["opened", "changed"]


def test_it_worsens_at_once_and_stays_so() -> None:
    evaluated(finding(), seconds=0)
    evaluated(finding(severity=Severity.CRITICAL), seconds=30)
    evaluated(finding(), seconds=60)
    incident = evaluated(finding(severity=Severity.CRITICAL), seconds=90)
    assert incident.severity == Severity.CRITICAL
    assert steps_of(incident) == ["opened", "worsened"]


def test_an_acknowledged_one_is_silent_until_it_worsens(admin_user: User) -> None:
    incident = evaluated(finding(), seconds=0)
    assert acknowledge(incident, admin_user, at(10))
    assert not acknowledge(incident, admin_user, at(11))
    for seconds in range(30, 7200, 30):
        evaluate([Scripted([finding(sentence=f"{seconds}")])], at(seconds))
    assert steps_of(only()) == ["opened", "acknowledged"]
    assert only().acknowledged_by == admin_user
    incident = evaluated(finding(severity=Severity.CRITICAL), seconds=7200)
    assert (incident.state, steps_of(incident)[-1]) == (State.OPEN, "worsened")
    assert each_step_was_told_once()


def test_an_acknowledged_one_that_is_over_is_told(admin_user: User) -> None:
    acknowledge(evaluated(finding(), seconds=0), admin_user, at(10))
    evaluated(seconds=30)
    assert steps_of(evaluated(seconds=60)) == ["opened", "acknowledged", "resolved"]


def test_what_comes_back_soon_is_the_same_and_lasts_longer() -> None:
    evaluated(finding(), seconds=0)
    evaluated(seconds=200)
    incident = evaluated(finding(), seconds=700)
    assert (incident.state, steps_of(incident)) == (State.OPEN, ["opened", "resolved", "reopened"])
    assert incident.resolved_at is None
    assert evaluated(seconds=1270).state == State.OPEN
    assert evaluated(seconds=1300).state == State.RESOLVED


def test_what_comes_back_late_is_another() -> None:
    evaluated(finding(), seconds=0)
    evaluated(seconds=200)
    evaluate([Scripted([finding()])], at(801))
    assert Incident.objects.count() == 2
    assert each_step_was_told_once()


def test_what_was_resolved_by_hand_comes_back_if_it_is_still_there(admin_user: User) -> None:
    incident = evaluated(finding(), seconds=0)
    assert resolve(incident, admin_user, at(10))
    assert not resolve(incident, admin_user, at(11))
    assert not acknowledge(incident, admin_user, at(12))
    assert steps_of(evaluated(finding(), seconds=30)) == ["opened", "resolved", "reopened"]
    assert IncidentStep.objects.get(kind="resolved").by == admin_user


def test_who_looked_earlier_changes_nothing_later() -> None:
    late = look([Scripted([finding()])], at(5))
    evaluated(finding(), seconds=0)
    evaluated(seconds=200)
    apply(late)
    assert only().state == State.RESOLVED


def test_who_looked_earlier_does_not_say_that_it_was_there_later() -> None:
    evaluated(finding(), seconds=0)
    late = look([Scripted([finding()])], at(29))
    evaluated(seconds=30)
    apply(late)
    assert (only().evaluated_at, only().misses) == (at(30), 1)


def test_a_rule_that_fails_stops_no_other_and_is_an_incident(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Scripted):
        def __call__(self, now: datetime) -> Iterator[Finding]:
            yield finding(rule="broken")
            raise ValueError("sk-ant-api03-fake-secret-in-an-exception")

    rules = [Failing(name="broken"), Scripted([finding()])]
    for seconds in (0, 30, 60):
        evaluate(rules, at(seconds))
    watch = Incident.objects.get(rule="watch")
    assert (watch.object, watch.facts, steps_of(watch)) == ("broken", {"error": "ValueError"}, ["opened"])
    assert "fake-secret" not in "".join(Delivery.objects.values_list("payload", flat=True))
    assert set(Incident.objects.values_list("rule", flat=True)) == {"watch", "error_rate"}
    for seconds in (90, 120):
        evaluate([Scripted(name="broken"), rules[1]], at(seconds))
    watch.refresh_from_db()
    assert watch.state == State.RESOLVED


def test_a_failing_rule_whose_turn_did_not_come_still_fails() -> None:
    evaluate([Scripted(before=lambda: 1 // 0)], at(0))
    for seconds in (30, 60, 600):
        evaluate([Scripted()], at(seconds), budget_seconds=-1)
    assert only().state == State.OPEN


def test_what_a_failing_rule_found_before_stays() -> None:
    def fail() -> None:
        raise ValueError

    evaluated(finding(), seconds=0)
    for seconds in (30, 60, 600):
        evaluate([Scripted(before=fail)], at(seconds))
    assert Incident.objects.get(rule="error_rate").state == State.OPEN


def test_what_a_rule_found_that_is_no_more_is_over() -> None:
    evaluated(finding(), seconds=0)
    for seconds in (30, 60):
        evaluate([], at(seconds))
    assert only().state == State.RESOLVED


def test_a_rule_whose_turn_did_not_come_has_said_nothing() -> None:
    evaluated(finding(), seconds=0)
    for seconds in (30, 60, 600):
        evaluate([Scripted()], at(seconds), budget_seconds=-1)
    assert only().state == State.OPEN


def test_each_rule_comes_first_in_turn() -> None:
    asked: list[str] = []
    rules = [Scripted(name=name, before=lambda name=name: asked.append(name)) for name in "abc"]  # type: ignore[misc]
    for seconds in (0, 30, 60):
        evaluate(rules, at(seconds))
    assert sorted(asked[::3]) == ["a", "b", "c"]


def test_a_rule_finds_no_more_than_its_bound() -> None:
    many = [finding(object=f"{number}.example.com") for number in range(incidents.FINDINGS_MAX + 5)]
    evaluate([Scripted(many)], at(0))
    evaluate([Scripted(many[::-1])], at(30))
    evaluate([Scripted(many[::-1])], at(60))
    assert Incident.objects.count() == len(many)
    assert not Incident.objects.filter(state=State.RESOLVED).exists()


def test_hostile_names_are_escaped_and_cut() -> None:
    label = "<!channel> & " + "x" * 400
    incident = evaluated(finding(label=label, object="o" * 300, sentence="<!here> fails"), seconds=0)
    assert (len(incident.label), len(incident.object)) == (300, 200)
    assert evaluated(finding(object="o" * 300), seconds=30).evaluations == 2
    assert "&lt;!here&gt; fails" in Delivery.objects.get().payload


# --- Many at once --------------------------------------------------------------------------------------------------

OBJECTS = ("a", "b")
found_objects = st.dictionaries(st.sampled_from(OBJECTS), st.tuples(st.sampled_from(Severity), st.sampled_from("xy")))
turn = st.tuples(
    st.sampled_from((1, 15, 30, 45, 130, 700)),
    found_objects,
    st.sampled_from(("together", "late", "between", "fails", "acknowledge", "resolve")) | st.integers(0, 8),
    found_objects,
)


@effort(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(turn, min_size=1, max_size=14))
def test_any_schedule_of_two_workers_tells_each_change_once(schedule: list[tuple[int, dict, str | int, dict]]) -> None:  # type: ignore[type-arg]
    Delivery.objects.all().delete()
    Incident.objects.all().delete()
    seconds = 0.0
    for pause, one, how, other in schedule:
        seconds += pause
        _play(seconds, _findings(one), how, _findings(other))
        _holds()
    for _ in range(30):
        seconds += 30
        evaluate([Scripted()], at(seconds))
    _holds()
    assert not Incident.objects.unresolved().exists()


@contextmanager
def meanwhile(query: int, act: Callable[[], object]) -> Iterator[None]:
    """Does it after so many queries, between two transactions: what another worker does is seen at that moment."""
    left = [query]

    def counting(execute: Callable[..., object], sql: str, *arguments: object) -> object:
        answer = execute(sql, *arguments)
        if not connection.in_atomic_block and not sql.startswith("BEGIN"):
            left[0] -= 1
            if left[0] == 0:
                act()
        return answer

    with connection.execute_wrapper(counting):
        yield


def _another(how: int, findings: list[Finding], now: datetime) -> None:
    """A worker, and every other time a person too."""
    if how % 2:
        for incident in Incident.objects.unresolved():
            (resolve if how % 4 == 1 else acknowledge)(incident, None, now)
    evaluate([Scripted(findings)], now)


@pytest.mark.parametrize("query", range(1, 8))
def test_what_another_worker_did_meanwhile_stays(query: int) -> None:
    evaluated(finding(), seconds=0)
    evaluated(seconds=30)
    with meanwhile(query, lambda: evaluate([Scripted([finding()])], at(75))):
        evaluate([Scripted()], at(60))
    assert (only().state, only().seen_at) in ((State.OPEN, at(75)), (State.RESOLVED, at(0)))
    _holds()


@pytest.mark.parametrize(("query", "sentence"), [(1, finding().sentence), (2, "Another.")])
def test_what_a_person_did_meanwhile_stays(query: int, sentence: str) -> None:
    """The first query reads what is unresolved, the second one writes what was found."""
    incident = evaluated(finding(), seconds=0)
    with meanwhile(query, lambda: resolve(incident, None, at(29))):
        evaluate([Scripted([finding(sentence="Another.")])], at(30))
    assert (only().state, only().sentence) == (State.RESOLVED, sentence)
    _holds()


def _findings(found: dict[str, tuple[Severity, str]]) -> list[Finding]:
    return [finding(object=name, severity=worst, sentence=text) for name, (worst, text) in found.items()]


def _play(seconds: float, one: list[Finding], how: str | int, other: list[Finding]) -> None:
    """Two workers at nearly the same moment; the second one sees something else."""
    now, soon = at(seconds), at(seconds + 0.5)
    if isinstance(how, int):
        with meanwhile(how, lambda: _another(how, other, at(seconds + 11))):
            evaluate([Scripted(one)], now)
    elif how == "late":
        late = look([Scripted(one)], now)
        evaluate([Scripted(other)], soon)
        apply(late)
    elif how == "between":
        evaluate([Scripted(one, before=lambda: evaluate([Scripted(other)], soon))], now)
    elif how == "fails":
        evaluate([Scripted(one, before=lambda: 1 // 0)], now)
    else:
        evaluate([Scripted(one)], now)
        evaluate([Scripted(other)], now if how == "together" else soon)
        by_hand = {"acknowledge": acknowledge, "resolve": resolve}.get(how)
        for incident in Incident.objects.unresolved() if by_hand else ():
            assert by_hand is not None
            by_hand(incident, None, at(seconds + 0.7))


def _holds() -> None:
    unresolved = list(Incident.objects.unresolved().values_list("rule", "object"))
    assert len(unresolved) == len(set(unresolved))
    assert each_step_was_told_once()
    for incident in Incident.objects.all():
        kinds = steps_of(incident)
        assert len(kinds) == incident.step
        assert kinds[0] == "opened"
        assert (kinds[-1] == "resolved") == (incident.state == State.RESOLVED) == (incident.resolved_at is not None)
        assert all(before != after for before, after in pairwise(kinds) if after != "changed")
        # Whatever is over can only come back, and only what is over does.
        assert all((before == "resolved") == (after == "reopened") for before, after in pairwise(kinds))


def test_threads_that_evaluate_at_once_tell_each_change_once() -> None:
    schedule: list[list[Finding]] = [[finding(object=name) for name in "abc"], [], [], [finding(object="b")], [], []]
    everybody = threading.Barrier(4)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn, findings in enumerate(schedule):
                everybody.wait(30)
                evaluate([Scripted(findings)], at(turn * 40 + number * 0.001))
        except BaseException as error:
            errors.append(error)
            everybody.abort()
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    histories = {incident.object: steps_of(incident) for incident in Incident.objects.all()}
    assert histories == {
        "a": ["opened", "resolved"],
        "b": ["opened", "resolved", "reopened"],
        "c": ["opened", "resolved"],
    }
    assert each_step_was_told_once()


def test_a_change_that_cannot_be_told_has_not_happened(settings: Settings) -> None:
    settings.NOTICES = None  # the outbox fails
    evaluate([Scripted([finding()])], at(0))
    assert not Incident.objects.exists()
    configure(settings, webhook_url=FAKE_WEBHOOK)
    evaluated(finding(), seconds=30)
    assert each_step_was_told_once()
