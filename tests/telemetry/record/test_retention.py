from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.ids import first_id_at, new_id
from accounts.models import Domain
from nexus.cli import main
from telemetry.models import BodyRow, ExchangeRow, HourMark, HourRow, LedgerRow, PieceRow
from telemetry.money.marks import mark
from telemetry.record import retention
from telemetry.record.bodies import ZSTD, compress
from telemetry.record.exchange import Closed
from telemetry.record.retention import Expired, Freed, clean, clean_ledger, expired, measure
from telemetry.record.store import store
from telemetry.tasks import clean_record
from tests.telemetry.facts import exchange

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2030, 6, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)
BODY_BYTES, PIECE_BYTES = 10, 7


@pytest.fixture
def domain(domain: Domain) -> Domain:
    return keeping(domain, bodies=10, rows=100)


def keeping(domain: Domain, bodies: int | None, rows: int | None) -> Domain:
    domain.retain_bodies_days, domain.retain_rows_days = bodies, rows
    domain.save()
    return domain


def add_exchange(domain_id: UUID | None, age: timedelta, has_body: bool = True) -> UUID:
    row_id = UUID(int=first_id_at(NOW - age).int | new_id().int & 0xFFFFFFFF)
    store([Closed(exchange(id=row_id, started_at=NOW - age, domain_id=domain_id), None)])
    if has_body and domain_id:
        texts = {"codec": ZSTD, "request_headers": "[]", "response_headers": "[]"}
        blobs = {"request": compress(b"{}"), "response": compress(b"{}")}
        facts = {"request_is_whole": True, "response_is_whole": True, "stored_bytes": BODY_BYTES}
        BodyRow.objects.create(exchange_id=row_id, domain_id=domain_id, **texts, **blobs, **facts)
    return row_id


def add_piece(domain_id: UUID, last_used_on: date) -> UUID:
    sizes = {"size_bytes": 9, "stored_bytes": PIECE_BYTES}
    data = compress(b"{}")
    return PieceRow.objects.create(id=new_id(), domain_id=domain_id, last_used_on=last_used_on, data=data, **sizes).id


def of(domain: Domain | None) -> Expired:
    (found,) = (each for each in expired(NOW) if each.domain_id == (domain and domain.id))
    return found


def cleaned(domain: Domain | None, **options: Any) -> Freed:
    return clean(of(domain), **options)


def left(model: Any) -> set[UUID]:
    return set(model.objects.values_list("pk", flat=True))


def test_bodies_go_first_and_rows_later(domain: Domain) -> None:
    old = add_exchange(domain.id, 10 * DAY + timedelta(milliseconds=1))
    young = add_exchange(domain.id, 10 * DAY)
    ancient = add_exchange(domain.id, 100 * DAY + timedelta(milliseconds=1))
    assert cleaned(domain) == Freed(exchanges=1, bodies=2, bytes=2 * BODY_BYTES)
    assert left(ExchangeRow) == {old, young}
    assert left(BodyRow) == {young}
    assert ancient not in left(ExchangeRow)
    assert cleaned(domain) == Freed()


def test_pieces_go_a_day_after_the_bodies_of_their_last_day(domain: Domain) -> None:
    cutoff = date(2030, 6, 5)
    add_piece(domain.id, cutoff - 2 * DAY)
    kept = {add_piece(domain.id, cutoff - DAY), add_piece(domain.id, cutoff), add_piece(domain.id, NOW.date())}
    assert cleaned(domain) == Freed(pieces=1, bytes=PIECE_BYTES)
    assert left(PieceRow) == kept


@pytest.mark.parametrize("hours", range(0, 72, 5))
def test_no_piece_goes_while_a_body_that_may_need_it_is_there(domain: Domain, hours: int) -> None:
    """Whatever the hour at which a body was written, its piece is not freed by the run that leaves the body."""
    age = 10 * DAY - timedelta(hours=30) + timedelta(hours=hours)
    add_piece(domain.id, (NOW - age).date())
    add_exchange(domain.id, age)
    cleaned(domain)
    assert not left(BodyRow) or left(PieceRow)


def test_pieces_wait_until_all_older_bodies_are_gone(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    for _ in range(5):
        add_exchange(domain.id, 50 * DAY)
        add_piece(domain.id, date(2030, 1, 1))
    assert cleaned(domain, max_batches=2) == Freed(bodies=4, bytes=4 * BODY_BYTES)
    assert cleaned(domain, max_batches=2) == Freed(bodies=1, pieces=4, bytes=BODY_BYTES + 4 * PIECE_BYTES)
    assert cleaned(domain, max_batches=2) == Freed(pieces=1, bytes=PIECE_BYTES)


def test_each_batch_is_a_transaction_of_its_own(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    for _ in range(5):
        add_exchange(domain.id, 200 * DAY)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert cleaned(domain, max_batches=None) == Freed(exchanges=5, bodies=5, bytes=5 * BODY_BYTES)
    deletes = [each["sql"] for each in queries if each["sql"].startswith("DELETE")]
    assert len([sql for sql in deletes if '"telemetry_body"' in sql and "IN" in sql]) == 3
    assert len([sql for sql in deletes if '"telemetry_exchange"' in sql and "IN" in sql]) == 3


def test_no_query_reads_a_body(domain: Domain) -> None:
    add_exchange(domain.id, 200 * DAY)
    add_piece(domain.id, date(2030, 1, 1))
    with CaptureQueriesContext(connection) as queries:
        measure(of(domain))
        assert cleaned(domain) == Freed(exchanges=1, bodies=1, pieces=1, bytes=BODY_BYTES + PIECE_BYTES)
    for query in queries:
        assert not any(f'"{name}"' in query["sql"] for name in ("request", "response", "data", "usage"))


def test_nothing_of_another_domain_is_touched(domain: Domain, other_domain: Domain) -> None:
    keeping(other_domain, bodies=0, rows=0)
    add_exchange(domain.id, 200 * DAY)
    row = add_exchange(other_domain.id, 5000 * DAY)
    piece = add_piece(other_domain.id, date(2001, 1, 1))
    for each in expired(NOW):
        clean(each)
    assert left(ExchangeRow) == left(BodyRow) == {row}
    assert left(PieceRow) == {piece}


def test_rows_that_go_before_bodies_take_them_along(domain: Domain) -> None:
    keeping(domain, bodies=0, rows=20)
    add_exchange(domain.id, 21 * DAY)
    young = add_exchange(domain.id, 19 * DAY)
    add_piece(domain.id, date(2030, 5, 24))
    piece = add_piece(domain.id, date(2030, 5, 25))
    assert cleaned(domain) == Freed(1, 1, 1, BODY_BYTES + PIECE_BYTES)
    assert left(ExchangeRow) == left(BodyRow) == {young}
    assert left(PieceRow) == {piece}


def test_a_body_that_a_bounded_run_has_left_goes_with_its_row(domain: Domain) -> None:
    add_exchange(domain.id, 200 * DAY)
    assert cleaned(domain, max_batches=0) == Freed()
    keeping(domain, bodies=10, rows=100)
    one = of(domain)
    with transaction.atomic():
        assert retention._free_exchanges(one.exchanges()) == Freed(exchanges=1, bodies=1, bytes=BODY_BYTES)
    assert not left(BodyRow)


def test_what_has_no_domain_is_kept_by_the_settings(db: None, settings: Settings) -> None:
    days = settings.RECORD.retain_rows_days
    nobody, gone = None, new_id()
    for domain_id in (nobody, gone):
        add_exchange(domain_id, (days + 1) * DAY)
    kept = {add_exchange(domain_id, (days - 1) * DAY, has_body=False) for domain_id in (nobody, gone)}
    assert [each.name for each in expired(NOW)] == ["no domain", f"a domain that is gone ({gone})"]
    assert sum((clean(each) for each in expired(NOW)), Freed()) == Freed(2, 1, 0, BODY_BYTES)
    assert left(ExchangeRow) == kept


def test_a_domain_that_says_nothing_follows_the_settings(other_domain: Domain, settings: Settings) -> None:
    add_exchange(other_domain.id, (settings.RECORD.retain_bodies_days + 1) * DAY)
    assert cleaned(other_domain) == Freed(bodies=1, bytes=BODY_BYTES)


def test_a_dry_run_tells_the_same_and_deletes_nothing(domain: Domain) -> None:
    add_exchange(domain.id, 11 * DAY)
    add_exchange(domain.id, 101 * DAY)
    add_piece(domain.id, date(2030, 1, 1))
    add_exchange(domain.id, DAY)
    told = measure(of(domain))
    assert (len(left(ExchangeRow)), len(left(BodyRow)), len(left(PieceRow))) == (3, 3, 1)
    assert told == cleaned(domain) == Freed(1, 2, 1, 2 * BODY_BYTES + PIECE_BYTES)


@contextmanager
def elsewhere(work: Any) -> Iterator[None]:
    """Runs *work* in a thread with a connection of its own, to its end."""

    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = Thread(target=run)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    yield


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer")
def test_a_piece_that_is_being_used_again_survives(domain: Domain) -> None:
    used, unused = add_piece(domain.id, date(2030, 1, 1)), add_piece(domain.id, date(2030, 1, 1))
    one = of(domain)
    with transaction.atomic():
        PieceRow.objects.filter(id=used).update(last_used_on=NOW.date())
        with elsewhere(lambda: clean(one)):
            assert PieceRow.objects.filter(id=unused).count() == 0
    clean(one)
    assert left(PieceRow) == {used}


def test_a_piece_that_was_used_since_it_was_chosen_survives(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the database could not lock it."""
    used = add_piece(domain.id, date(2030, 1, 1))

    def chosen_too_early(*_: Any) -> list[tuple[UUID, int]]:
        PieceRow.objects.filter(id=used).update(last_used_on=NOW.date())
        return [(used, PIECE_BYTES)]

    monkeypatch.setattr(retention, "_locked", chosen_too_early)
    retention._free_pieces(of(domain).pieces())
    assert left(PieceRow) == {used}


@pytest.mark.parametrize(("accepted", "age_days", "goes"), [(5, 31, True), (5, 29, False), (6, 31, False)])
def test_the_ledger_forgets_old_processes_without_a_gap(accepted: int, age_days: int, goes: bool) -> None:
    ended = NOW - age_days * DAY
    times = {"started_at": ended, "seen_at": ended, "ended_at": ended}
    LedgerRow.objects.create(id=new_id(), node="n", **times, accepted=accepted, stored=4, lost=1)
    LedgerRow.objects.create(id=new_id(), node="n", started_at=ended, seen_at=ended)
    assert clean_ledger(NOW) == goes
    assert LedgerRow.objects.count() == 2 - goes


def now_and_long_ago(domain: Domain) -> None:
    """The task and the command go by the real clock."""
    age = NOW - datetime.now(UTC)
    add_exchange(domain.id, age + DAY)
    add_exchange(domain.id, age + 11 * DAY)


def test_the_task_says_what_it_freed(domain: Domain, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="telemetry.tasks")
    now_and_long_ago(domain)
    clean_record()
    assert BodyRow.objects.count() == 1
    assert [record.message for record in caplog.records if record.name == "telemetry.tasks"] == [
        "retention freed 0 exchanges, 1 bodies and 0 pieces, 10 bytes"
    ]
    caplog.clear()
    clean_record()
    assert not caplog.records


def test_the_command_says_what_it_would_free_and_frees_it(domain: Domain) -> None:
    now_and_long_ago(domain)
    freed = "0 exchanges, 1 bodies and 0 pieces, 10 bytes"
    dry = CliRunner().invoke(main, ["clean", "--dry-run"])
    assert (dry.exit_code, dry.output) == (0, f"{domain.host}: {freed}\nThis would delete {freed}.\n")
    assert BodyRow.objects.count() == 2
    wet = CliRunner().invoke(main, ["clean"])
    assert (wet.exit_code, wet.output) == (0, f"{domain.host}: {freed}\nDeleted {freed}.\n")
    assert BodyRow.objects.count() == 1


def test_the_sums_of_an_hour_outlive_its_exchanges(domain: Domain) -> None:
    """Also where nobody had made them yet; and what comes too late does not replace them."""
    row = add_exchange(domain.id, 101 * DAY)
    mark([(row, domain.id)])
    assert cleaned(domain).exchanges == 1
    assert HourRow.objects.values_list("requests", flat=True).get() == 1
    late = add_exchange(domain.id, 101 * DAY)
    mark([(late, domain.id)])
    assert cleaned(domain).exchanges == 1
    assert HourRow.objects.values_list("requests", flat=True).get() == 1
    assert not HourMark.objects.exists()
