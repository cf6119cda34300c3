import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.db import connection

from accounts.ids import first_id_at, new_id
from accounts.models import ClientKey, Domain
from telemetry.models import BatchRow, BatchUsageRow, ExchangeRow, HourMark, PriceRow
from telemetry.money.charges import Charge, Terms
from telemetry.record import store as store_module
from telemetry.record.exchange import BatchResults, Closed, Exchange, Kind, Outcome
from telemetry.record.store import store
from tests.telemetry.facts import exchange

pytestmark = pytest.mark.django_db(transaction=True)
BATCH = "msgbatch_01test"
HAIKU, OPUS = "claude-haiku-4-5", "claude-opus-4-5"
OF_HAIKU = Charge(
    terms=Terms(model=HAIKU, is_batch=True),
    input_tokens=1_000_000,
    output_tokens=200_000,
    cache_read_tokens=3_000_000,
    cache_write_5m_tokens=400_000,
    cache_write_1h_tokens=500_000,
    web_searches=7,
)
# Half of 1 + 0.2 * 5 + 3 * 0.10 + 0.4 * 1.25 + 0.5 * 2, and the searches whole: 7 of them at 10 a thousand.
COST_OF_HAIKU = Decimal("1.9") + Decimal("0.07")
OF_OPUS = Charge(terms=Terms(model=OPUS, is_batch=True), output_tokens=40)
COST_OF_OPUS = Decimal("0.0005")
UNKNOWN = Charge(terms=Terms(model="a-model-of-2031", is_batch=True), output_tokens=1)


@pytest.fixture(autouse=True)
def prices(db: None) -> None:
    """Their own: tests that commit leave no seeds behind."""
    PriceRow.objects.all().delete()
    for model, rate in ((HAIKU, "1"), (OPUS, "5")):
        set_price(model, datetime(2024, 1, 1, tzinfo=UTC), rate)


def set_price(model: str, valid_from: datetime, rate: str) -> None:
    rates = {"input": "1", "output": "5", "cache_read": "0.1", "cache_write_5m": "1.25", "cache_write_1h": "2"}
    prices = {name: Decimal(rate) * Decimal(factor) for name, factor in rates.items()}
    PriceRow.objects.create(pattern=model, valid_from=valid_from, source="test", **prices)


@pytest.fixture
def creator(issued: tuple[ClientKey, str]) -> ClientKey:
    return issued[0]


@pytest.fixture
def reader(other_domain: Domain) -> ClientKey:
    return ClientKey.issue(other_domain, "a reader")[0]


def creation(key: ClientKey, **changes: Any) -> Exchange:
    facts: dict[str, Any] = {
        "path": "/v1/messages/batches",
        "kind": Kind.OTHER,
        "batch_id": BATCH,
        "domain_id": key.domain_id,
        "client_key_id": key.id,
        "credential_source": "domain",
    }
    return exchange(**facts | changes)


def reading(key: ClientKey, *charges: Charge, **changes: Any) -> Exchange:
    results = BatchResults(charges=charges or (OF_HAIKU, OF_OPUS), succeeded=9, errored=1, canceled=2, expired=3)
    facts: dict[str, Any] = {
        "method": "GET",
        "path": f"/v1/messages/batches/{BATCH}/results",
        "credential_source": "environment",
        "batch_results": results,
    }
    return creation(key, **facts | changes)


def keep(*exchanges: Exchange) -> None:
    store([Closed(each, None) for each in exchanges])


def owner(row: Any) -> tuple[Any, Any, Any]:
    return row.domain_id, row.client_key_id, row.credential_id


def owner_of(fact: Exchange) -> tuple[Any, Any, Any]:
    return owner(fact)


def costs() -> dict[str, Decimal | None]:
    return dict(BatchUsageRow.objects.values_list("model", "cost"))


def hours_marked() -> set[UUID | None]:
    """Domains."""
    return set(HourMark.objects.values_list("domain_id", flat=True))


def test_a_creation_makes_a_row_that_is_not_booked(creator: ClientKey) -> None:
    created = creation(creator, credential_id=new_id())
    keep(created, creation(creator, method="GET", path=f"/v1/messages/batches/{BATCH}"))
    row = BatchRow.objects.get()
    assert (row.id, row.created_by, row.created_at) == (BATCH, created.id, created.started_at)
    assert (*owner(row), row.credential_source) == (*owner_of(created), "domain")
    assert (row.is_booked, row.was_seen_created) == (False, True)
    keep(created)
    assert BatchRow.objects.count() == 1


def test_looking_at_a_batch_makes_none(creator: ClientKey) -> None:
    keep(creation(creator, method="GET", path=f"/v1/messages/batches/{BATCH}"))
    keep(creation(creator, path=f"/v1/messages/batches/{BATCH}/cancel"))
    assert not BatchRow.objects.exists()


def test_it_is_booked_to_the_key_that_created_it_at_half_the_price(creator: ClientKey, reader: ClientKey) -> None:
    created = creation(creator, credential_id=new_id())
    keep(created)
    read = reading(reader, credential_id=new_id())
    keep(read)
    row = BatchRow.objects.get()
    assert (row.booked_id, row.booked_at) == (read.id, read.started_at)
    assert (row.succeeded, row.errored, row.canceled, row.expired, row.unreadable) == (9, 1, 2, 3, 0)
    assert owner(row) == owner_of(created)
    haiku, opus = row.usage.order_by("model")
    for usage in (haiku, opus):
        assert owner(usage) == owner_of(created)
        assert (usage.booked_id, usage.pricing) == (read.id, "priced")
        assert UUID(usage.price_ids) == PriceRow.objects.get(pattern=usage.model).id
    assert (haiku.cost, opus.cost) == (COST_OF_HAIKU, COST_OF_OPUS)
    assert haiku.charged() == [OF_HAIKU]
    assert (haiku.input_tokens, haiku.output_tokens, haiku.cache_read_tokens) == (1_000_000, 200_000, 3_000_000)
    assert (haiku.cache_write_5m_tokens, haiku.cache_write_1h_tokens) == (400_000, 500_000)
    assert haiku.web_search_requests == 7
    assert ExchangeRow.objects.get(id=read.id).batch_id == BATCH


def test_it_counts_in_the_hour_in_which_it_was_read_and_of_its_creator(creator: ClientKey, reader: ClientKey) -> None:
    keep(creation(creator))
    HourMark.objects.all().delete()
    noon = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
    keep(reading(reader, id=first_id_at(noon)))
    marks = set(HourMark.objects.values_list("hour", "domain_id"))
    assert (noon.replace(minute=0), creator.domain_id) in marks


def test_one_model_at_several_terms_is_one_row(creator: ClientKey) -> None:
    in_the_us = msgspec.structs.replace(OF_HAIKU, terms=msgspec.structs.replace(OF_HAIKU.terms, is_us=True))
    keep(creation(creator), reading(creator, OF_HAIKU, in_the_us))
    usage = BatchUsageRow.objects.get()
    assert usage.input_tokens == 2_000_000
    assert usage.charged() == [OF_HAIKU, in_the_us]
    assert usage.cost == 2 * COST_OF_HAIKU


def test_read_twice_or_stored_twice_it_is_booked_once(creator: ClientKey, reader: ClientKey) -> None:
    first, second = reading(reader), reading(creator, OF_OPUS)
    keep(creation(creator), first, second)
    keep(first)
    keep(second)
    assert BatchRow.objects.get().booked_id == first.id
    assert costs() == {HAIKU: COST_OF_HAIKU, OPUS: COST_OF_OPUS}


def test_a_creation_that_is_stored_again_changes_nothing_that_was_corrected_since(creator: ClientKey) -> None:
    created = creation(creator)
    keep(created, reading(creator))
    BatchUsageRow.objects.update(cost=Decimal(7))
    keep(created)
    assert costs() == {HAIKU: Decimal(7), OPUS: Decimal(7)}


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": Outcome.CANCELLED},
        {"outcome": Outcome.BROKEN},
        {"outcome": Outcome.INTERRUPTED},
        {"status": 206},
        {"batch_results": None},
        {"batch_results": BatchResults()},
        {"batch_results": BatchResults(charges=(OF_HAIKU,), succeeded=2, unreadable=1)},
    ],
)
def test_what_did_not_come_whole_is_not_booked_and_the_next_whole_reading_is(
    creator: ClientKey, changes: dict[str, Any]
) -> None:
    keep(creation(creator), reading(creator, **changes))
    assert not BatchUsageRow.objects.exists()
    assert not BatchRow.objects.get().is_booked
    keep(reading(creator))
    assert BatchRow.objects.get().is_booked
    assert len(costs()) == 2


def test_lines_that_could_not_be_read_are_told_until_it_is_booked(
    creator: ClientKey, caplog: pytest.LogCaptureFixture
) -> None:
    keep(reading(creator, batch_results=BatchResults(succeeded=2, unreadable=3)))
    assert BatchRow.objects.get().unreadable == 3
    assert "3 lines could not be read" in caplog.text
    keep(reading(creator))
    assert (BatchRow.objects.get().unreadable, BatchRow.objects.get().is_booked) == (0, True)


def test_a_batch_in_which_nothing_succeeded_is_booked_and_costs_nothing(creator: ClientKey) -> None:
    keep(creation(creator), reading(creator, batch_results=BatchResults(expired=4)))
    assert (BatchRow.objects.get().is_booked, costs()) == (True, {})


def test_a_model_without_a_price_is_unpriced_and_costs_no_other(creator: ClientKey) -> None:
    keep(creation(creator), reading(creator, OF_HAIKU, UNKNOWN))
    assert costs() == {HAIKU: COST_OF_HAIKU, UNKNOWN.terms.model: None}
    assert BatchUsageRow.objects.get(model=UNKNOWN.terms.model).pricing == "unpriced"


def test_the_prices_of_its_creation_count(creator: ClientKey) -> None:
    created_at = datetime(2026, 11, 20, tzinfo=UTC)
    keep(creation(creator, started_at=created_at))
    old = PriceRow.objects.get(pattern=HAIKU)
    set_price(HAIKU, created_at + timedelta(hours=1), "100")
    keep(reading(creator, OF_HAIKU))
    assert (BatchUsageRow.objects.get().cost, BatchUsageRow.objects.get().price_ids) == (COST_OF_HAIKU, str(old.id))


def test_what_nexus_did_not_see_created_is_booked_to_the_key_that_read_it(reader: ClientKey) -> None:
    read = reading(reader)
    keep(read)
    row = BatchRow.objects.get()
    assert (row.was_seen_created, row.is_booked, row.created_at) == (False, True, read.started_at)
    assert owner(row) == owner_of(read)
    assert {owner(usage) for usage in row.usage.all()} == {owner_of(read)}


def test_a_creation_that_is_stored_late_gets_what_was_booked(creator: ClientKey, reader: ClientKey) -> None:
    """The spool of a process that was killed may be adopted after the results were read elsewhere."""
    created_at = datetime(2026, 11, 20, tzinfo=UTC)
    set_price(HAIKU, created_at + timedelta(hours=1), "100")
    read, created = reading(reader), creation(creator, started_at=created_at)
    keep(read)
    assert costs()[HAIKU] != COST_OF_HAIKU
    HourMark.objects.all().delete()
    keep(created)
    keep(created)
    row = BatchRow.objects.get()
    assert (row.created_by, row.created_at, row.booked_id) == (created.id, created_at, read.id)
    assert {owner(usage) for usage in row.usage.all()} == {owner(row)} == {owner_of(created)}
    assert costs() == {HAIKU: COST_OF_HAIKU, OPUS: COST_OF_OPUS}
    assert hours_marked() == {creator.domain_id, reader.domain_id}


def test_a_domain_that_keeps_no_words_has_its_batches_booked(creator: ClientKey) -> None:
    creator.domain.storage = "none"
    creator.domain.save()
    keep(creation(creator, user_agent=""), reading(creator, user_agent=""))
    assert len(costs()) == 2


def test_a_booking_that_the_database_cannot_take_costs_no_exchange(
    creator: ClientKey, caplog: pytest.LogCaptureFixture
) -> None:
    beyond = msgspec.structs.replace(OF_OPUS, output_tokens=10**19)
    before = creation(creator)
    keep(before, reading(creator, beyond), reading(creator, batch_id="msgbatch_other"))
    assert ExchangeRow.objects.count() == 3
    assert "its message batch is not booked" in caplog.text
    assert list(BatchRow.objects.exclude(booked_id=None).values_list("id", flat=True)) == ["msgbatch_other"]


def test_words_that_the_database_cannot_take_cost_no_booking(creator: ClientKey) -> None:
    keep(creation(creator), reading(creator, user_agent="\ud800"))
    assert ExchangeRow.objects.count() == 2
    assert costs() == {HAIKU: COST_OF_HAIKU, OPUS: COST_OF_OPUS}


def test_results_survive_the_spool() -> None:
    fact = exchange(batch_results=BatchResults(charges=(OF_HAIKU, OF_OPUS), succeeded=2, unreadable=1))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(fact), type=Exchange) == fact


def test_an_exchange_about_no_batch_costs_no_query(
    monkeypatch: pytest.MonkeyPatch, creator: ClientKey, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(store_module, "mark", lambda exchanges: None)
    plain = Closed(exchange(), None)
    store([Closed(exchange(), None)])  # now and then it looks at who is told of exchanges
    with django_assert_num_queries(3):  # begin, insert, commit
        store([plain])


ROUNDS = 20


def test_threads_book_once(creator: ClientKey, reader: ClientKey) -> None:
    """Readings and the creation of each batch at once, in different orders."""
    barrier = threading.Barrier(3)
    failures: list[Exception] = []

    def run(exchanges: list[Exchange]) -> None:
        barrier.wait(10)
        try:
            for each in exchanges:
                keep(each)
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    names = [f"msgbatch_{number}" for number in range(ROUNDS)]
    work = [
        [reading(reader, batch_id=name) for name in names],
        [reading(creator, batch_id=name) for name in reversed(names)],
        [creation(creator, batch_id=name) for name in names],
    ]
    threads = [threading.Thread(target=run, args=(each,)) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert_each_is_booked_once(names, creator)


CHILD = """
import sys
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
django.setup()
import msgspec
from telemetry.record.exchange import Closed, Exchange
from telemetry.record.store import store
exchanges = msgspec.msgpack.decode(bytes.fromhex(sys.stdin.readline()), type=list[Exchange])
print("ready", flush=True)
sys.stdin.readline()
store([Closed(each, None) for each in exchanges])
"""


def test_processes_book_once(creator: ClientKey, reader: ClientKey) -> None:
    """Each stores all of its exchanges in one transaction."""
    names = [f"msgbatch_{number}" for number in range(ROUNDS)]
    work = [
        [reading(reader, batch_id=name) for name in names],
        [reading(creator, batch_id=name) for name in reversed(names)],
        [creation(creator, batch_id=name) for name in names],
    ]
    command = [sys.executable, "-c", CHILD, str(connection.settings_dict["NAME"])]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in work
    ]
    for child, exchanges in zip(children, work, strict=True):
        assert child.stdin
        child.stdin.write(msgspec.msgpack.encode(exchanges).hex() + "\n")
        child.stdin.flush()
    for child in children:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin
        child.stdin.write("\n")
        child.stdin.flush()
    for child in children:
        assert child.communicate(timeout=60)[1] == ""
        assert child.returncode == 0
    assert_each_is_booked_once(names, creator)


def assert_each_is_booked_once(names: list[str], creator: ClientKey) -> None:
    assert set(BatchRow.objects.values_list("id", flat=True)) == set(names)
    for row in BatchRow.objects.prefetch_related("usage"):
        assert (row.was_seen_created, row.is_booked, row.client_key_id) == (True, True, creator.id)
        assert {usage.model: usage.cost for usage in row.usage.all()} == {HAIKU: COST_OF_HAIKU, OPUS: COST_OF_OPUS}
        assert {(usage.client_key_id, usage.booked_id) for usage in row.usage.all()} == {(creator.id, row.booked_id)}
