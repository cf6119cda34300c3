import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection, transaction

from accounts.ids import first_id_at, moment_of, new_id
from telemetry.models import HourMark
from telemetry.money.marks import hour_of, mark
from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db(transaction=True)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def at(hours: float) -> UUID:
    return first_id_at(NOON + timedelta(hours=hours))


def marked() -> set[tuple[datetime, UUID | None]]:
    return set(HourMark.objects.values_list("hour", "domain_id"))


@pytest.mark.parametrize("milliseconds", [0, 1, 999, 3_599_999])
def test_an_hour_is_a_span_of_ids(milliseconds: int) -> None:
    moment = NOON + timedelta(milliseconds=milliseconds)
    assert moment_of(first_id_at(moment)) == moment
    assert hour_of(first_id_at(moment)) == NOON
    assert hour_of(first_id_at(NOON - timedelta(milliseconds=1))) != NOON


def test_storing_marks_the_hour_of_each_domain() -> None:
    domain_id = new_id()
    stored_exchange(id=at(0.1), domain_id=domain_id)
    stored_exchange(id=at(0.9), domain_id=domain_id)
    stored_exchange(id=at(1), domain_id=domain_id)
    stored_exchange(id=at(0), domain_id=None)
    assert marked() == {(NOON, domain_id), (NOON + timedelta(hours=1), domain_id), (NOON, None)}
    assert HourMark.objects.count() == 3


def test_the_same_hour_again_is_the_same_mark_with_another_stamp() -> None:
    mark([(at(0), None)])
    before = HourMark.objects.get()
    mark([(at(0.5), None), (at(0.6), None)])
    after = HourMark.objects.get()
    assert (after.id, after.stamp == before.stamp) == (before.id, False)


def test_nothing_marks_nothing() -> None:
    mark([])
    assert marked() == set()


def test_what_is_rolled_back_leaves_no_mark() -> None:
    with transaction.atomic():
        mark([(at(0), None)])
        transaction.set_rollback(True)
    assert marked() == set()


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer")
def test_two_that_store_at_once_do_not_wait_for_each_other() -> None:
    def store_too() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '5s'")
            mark([(at(0), None)])
        connection.close()
        done.set()

    done = threading.Event()
    with transaction.atomic():
        mark([(at(0), None)])
        other = threading.Thread(target=store_too)
        other.start()
        assert done.wait(20)
    other.join()
    assert HourMark.objects.count() == 2
