"""Sums by the hour: equal to the record whatever came in which order, and never older than what they replace."""

import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import given, settings

from accounts.ids import new_id
from telemetry.models import BatchRow, BatchUsageRow, DayRow, ExchangeRow, HourMark, HourRow, HourState
from telemetry.money import rollups
from telemetry.money.marks import Hour, mark
from telemetry.money.rollups import make_final, roll_up, roll_up_hour, roll_up_until
from telemetry.record.exchange import Closed, Pricing
from telemetry.record.store import store
from tests.telemetry.facts import exchange
from tests.telemetry.money.made import NOON, batches_of_exchanges, id_at
from tests.telemetry.money.plain import sums_by_day, sums_by_dimensions, sums_stored

pytestmark = pytest.mark.django_db(transaction=True)
DOMAIN = UUID(int=1)
HOUR = Hour(NOON, DOMAIN)


def put(*, minutes: float = 5, **facts: Any) -> UUID:
    moment = NOON + timedelta(minutes=minutes)
    one = exchange(**{"id": id_at(moment), "started_at": moment, "domain_id": DOMAIN} | facts)
    assert store([Closed(one, None)]) == 1
    return one.id


def requests() -> int:
    return sum(HourRow.objects.values_list("requests", flat=True))


def book(booked_id: UUID, domain_id: UUID | None = DOMAIN, **facts: Any) -> None:
    """The results of a message batch."""
    tokens = dict.fromkeys((*_TOKENS, "web_search_requests"), 7)
    batch = BatchRow.objects.create(id=f"msgbatch_{new_id()}", created_at=NOON, credential_source="domain")
    values = {"domain_id": domain_id, "model": "a", "pricing": Pricing.PRICED, "cost": Decimal("0.0000000001")} | facts
    BatchUsageRow.objects.create(id=new_id(), batch=batch, booked_id=booked_id, charges="[]", **tokens, **values)
    mark([(booked_id, domain_id)])


_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
)


@settings(max_examples=40, deadline=None)
@given(first=batches_of_exchanges(), later=batches_of_exchanges())
def test_sums_are_those_of_plain_python(first: list[Closed], later: list[Closed]) -> None:
    for model in (ExchangeRow, HourRow, DayRow, HourState, HourMark):
        model.objects.all().delete()
    for batch in (first, later):
        store(batch)
        roll_up(at_once=True)
        assert sums_stored() == sums_by_dimensions()
        assert sums_stored(DayRow) == sums_by_day()
        assert not HourMark.objects.exists()


def test_a_cost_is_summed_to_its_last_place() -> None:
    """As floats a thousand of these come to something else."""
    cost = Decimal("1.0000000001")
    store(
        [
            Closed(exchange(id=id_at(NOON), domain_id=DOMAIN, cost=cost, pricing=Pricing.PRICED), None)
            for _ in range(1000)
        ]
    )
    roll_up()
    assert HourRow.objects.get().cost == Decimal("1000.0000001000")


def test_batches_count_in_the_hour_in_which_their_results_were_read() -> None:
    booked_id = put(minutes=1, model="a", answered_model="")
    book(booked_id)
    book(booked_id, pricing=Pricing.UNPRICED, cost=None)
    book(booked_id, domain_id=None, model="b")
    roll_up()
    assert sums_stored() == sums_by_dimensions()
    of_batches = HourRow.objects.filter(kind="batch").order_by("model")
    assert list(of_batches.values_list("model", "requests", "input_tokens", "unpriced")) == [
        ("a", 0, 14, 1),
        ("b", 0, 7, 0),
    ]


def test_what_is_gone_from_the_record_goes_from_the_sums() -> None:
    gone, moved = put(model="x", answered_model=""), put(model="y", answered_model="")
    roll_up()
    ExchangeRow.objects.filter(id=gone).delete()
    ExchangeRow.objects.filter(id=moved).update(model="z", cost=Decimal(3))
    mark([(gone, DOMAIN)])
    roll_up(at_once=True)
    assert [(row.model, row.cost) for row in HourRow.objects.all()] == [("z", Decimal(3))]
    ExchangeRow.objects.all().delete()
    mark([(gone, DOMAIN)])
    roll_up(at_once=True)
    assert not HourRow.objects.exists()
    assert not DayRow.objects.exists()


def test_no_more_than_the_limit_and_the_newest_first() -> None:
    for minutes in (0, 60, 120):
        put(minutes=minutes)
    assert roll_up(limit=2) == 2
    assert {row.hour.hour for row in HourRow.objects.all()} == {13, 14}
    assert roll_up(limit=2) == 1
    assert roll_up(limit=2) == 0


def test_time_is_limited_too() -> None:
    for minutes in (0, 60, 120):
        put(minutes=minutes)
    assert roll_up(seconds=0) == 1


def test_an_hour_that_takes_long_is_left_alone_for_ten_times_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "REST", 10_000_000)
    put()
    assert roll_up() == 1
    put()
    assert roll_up() == 0
    assert (requests(), HourMark.objects.count()) == (1, 1)
    HourState.objects.update(due_at=NOON - timedelta(days=1))
    assert roll_up() == 1
    assert requests() == 2


def test_those_that_wait_longest_come_first() -> None:
    """A busy hour cannot keep the others from their turn."""
    put(minutes=0)
    put(minutes=60)
    roll_up()
    HourState.objects.filter(hour=NOON).update(due_at=NOON - timedelta(days=2))
    HourState.objects.exclude(hour=NOON).update(due_at=NOON - timedelta(days=1))
    put(minutes=0)
    put(minutes=60)
    assert roll_up(limit=1) == 1
    assert HourMark.objects.get().hour != NOON


# --- Others at the same time ------------------------------------------------------------------------------------


def meanwhile(monkeypatch: pytest.MonkeyPatch, step: str, event: Callable[[], Any]) -> None:
    """Lets something happen once, right after a step of the roll-up."""
    original = getattr(rollups, step)

    def with_event(*args: Any, **options: Any) -> Any:
        found = original(*args, **options)
        monkeypatch.setattr(rollups, step, original)
        event()
        return found

    monkeypatch.setattr(rollups, step, with_event)


def test_what_is_stored_while_an_hour_is_summed_is_in_the_next_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    put()
    meanwhile(monkeypatch, "rows_of", put)
    assert roll_up() == 1
    assert (requests(), HourMark.objects.count()) == (1, 1)
    assert roll_up(at_once=True) == 1
    assert (requests(), HourMark.objects.count()) == (2, 0)


@pytest.mark.parametrize("is_first", [True, False])
def test_older_sums_do_not_replace_newer_ones(monkeypatch: pytest.MonkeyPatch, is_first: bool) -> None:
    """Another worker reads more, and writes earlier."""
    put()
    if not is_first:
        roll_up()
        put()

    def another() -> None:
        put()
        assert roll_up_hour(HOUR)

    meanwhile(monkeypatch, "rows_of", another)
    assert not roll_up_hour(HOUR)
    assert requests() == ExchangeRow.objects.count()
    assert not HourMark.objects.exists()


def test_a_slow_worker_does_not_delete_the_mark_of_what_came_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mark was deleted and made again by the same writer: the same row, with another stamp."""

    def another() -> None:
        assert roll_up_hour(HOUR)
        put()

    put()
    meanwhile(monkeypatch, "_replace", lambda: None)
    meanwhile(monkeypatch, "_claimed", lambda: None)
    original = rollups._unmark

    def late(marks: list[tuple[UUID, UUID]]) -> None:
        monkeypatch.setattr(rollups, "_unmark", original)
        another()
        original(marks)

    monkeypatch.setattr(rollups, "_unmark", late)
    assert roll_up_hour(HOUR)
    assert HourMark.objects.count() == 1
    roll_up(at_once=True)
    assert requests() == ExchangeRow.objects.count() == 2


@pytest.mark.parametrize("workers", [2, 4])
def test_writers_and_workers_at_once_come_to_the_same(workers: int) -> None:
    """Each with a connection of its own; nobody coordinates them."""
    failures: list[BaseException] = []
    stop = threading.Event()

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)
            finally:
                connection.close()

        return run

    def write() -> None:
        for number in range(40):
            put(minutes=number % 3 * 60, domain_id=[DOMAIN, None][number % 2])

    def work() -> None:
        while not stop.is_set():
            roll_up(at_once=True)

    writers = [threading.Thread(target=guarded(write)) for _ in range(2)]
    rolling = [threading.Thread(target=guarded(work)) for _ in range(workers)]
    for thread in (*writers, *rolling):
        thread.start()
    for thread in writers:
        thread.join(60)
    stop.set()
    for thread in rolling:
        thread.join(60)
    assert failures == []
    roll_up(at_once=True)
    assert requests() == 80
    assert sums_stored() == sums_by_dimensions()
    assert sums_stored(DayRow) == sums_by_day()
    assert not HourMark.objects.exists()


# --- Hours whose exchanges are deleted ----------------------------------------------------------------------------


def test_a_final_hour_is_not_summed_again(caplog: pytest.LogCaptureFixture) -> None:
    gone, kept = put(), put()
    roll_up()
    with transaction.atomic():
        assert make_final([(gone, DOMAIN)]) == [gone]
        ExchangeRow.objects.filter(id=gone).delete()
    late = put()
    assert roll_up(at_once=True) == 0
    assert (requests(), HourMark.objects.count()) == (2, 0)
    assert "not in its sums" in caplog.text
    assert set(ExchangeRow.objects.values_list("id", flat=True)) == {kept, late}


def test_what_has_still_to_be_summed_may_not_be_deleted() -> None:
    marked, other = put(), put(minutes=60)
    roll_up()
    put(minutes=10)
    with transaction.atomic():
        assert make_final([(marked, DOMAIN), (other, DOMAIN)]) == [other]
    assert [state.hour.hour for state in HourState.objects.filter(is_final=True)] == [13]


def test_an_hour_that_becomes_final_while_it_is_summed_keeps_its_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = put()
    roll_up()

    def clean() -> None:
        HourMark.objects.all().delete()
        with transaction.atomic():
            make_final([(gone, DOMAIN)])

    put()
    meanwhile(monkeypatch, "rows_of", clean)
    assert not roll_up_hour(HOUR)
    assert requests() == 1


def put_too_much(minutes: float) -> None:
    """More than the column of an hour's cost holds."""
    for _ in range(2):
        put(minutes=minutes, pricing=Pricing.PRICED, cost=Decimal(9_999_999_999))


def test_an_hour_that_cannot_be_summed_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    put(minutes=5)
    put_too_much(65)  # the newest comes first
    with pytest.raises((DatabaseError, ArithmeticError)):
        roll_up(at_once=True)
    assert requests() == 1
    assert HourMark.objects.get().hour == NOON + timedelta(hours=1)
    assert "cannot be summed" in caplog.text


def test_retention_keeps_what_cannot_be_summed_and_goes_on() -> None:
    put_too_much(5)
    put(minutes=65)
    roll_up_until(DOMAIN, NOON + timedelta(hours=2))
    assert requests() == 1
    of_domain = ExchangeRow.objects.values_list("id", "domain_id")
    assert len(make_final(of_domain)) == 1
