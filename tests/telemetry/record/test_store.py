import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from accounts.ids import new_id
from accounts.models import ClientKey
from proxy.draft import clean
from telemetry.models import BodyRow, ExchangeRow
from telemetry.record.exchange import COLUMNS, Closed
from telemetry.record.store import store
from tests.telemetry.facts import closed, exchange, stored_exchange

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_row_is_the_fact_field_by_field(issued: tuple[ClientKey, str]) -> None:
    key, _ = issued
    fact = stored_exchange(domain_id=key.domain_id, client_key_id=key.id, first_byte_ms=None, status=None)
    row = ExchangeRow.objects.get()
    assert {name: getattr(row, name) for name in COLUMNS} == {name: getattr(fact, name) for name in COLUMNS}


def test_bodies_come_back_byte_for_byte() -> None:
    request, response = bytes(range(256)) * 50, b"event: ping\n\n" * 1000
    stored_exchange(request, response)
    row = ExchangeRow.objects.get()
    assert (row.request_body(), row.response_body()) == (request, response)


def test_an_exchange_without_bodies_has_none() -> None:
    assert store([Closed(exchange(), None)]) == 1
    assert ExchangeRow.objects.get().request_body() is None
    assert not BodyRow.objects.exists()


def test_the_same_batch_twice_is_stored_once() -> None:
    batch = [closed(b"first"), closed(b"second")]
    assert (store(batch), store(batch)) == (2, 0)
    assert ExchangeRow.objects.count() == BodyRow.objects.count() == 2


def test_a_row_of_a_domain_that_is_gone_is_stored() -> None:
    stored_exchange(domain_id=new_id(), client_key_id=new_id(), credential_id=new_id())
    assert ExchangeRow.objects.count() == 1


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite takes anything")
def test_a_row_that_the_database_cannot_take_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    assert connection.vendor == "postgresql"
    poison = closed(model="a\0b")
    assert store([closed(), poison, closed(path="x" * 501), closed()]) == 2
    assert ExchangeRow.objects.count() == 2
    assert str(poison.exchange.id) in caplog.text


@given(st.text(max_size=30) | st.sampled_from(["\0", "\ud800x", "a" * 700]))
def test_what_was_cleaned_can_be_stored(text: str) -> None:
    cleaned = clean(text, 20)
    assert len(cleaned) <= 20
    assert "\0" not in cleaned
    cleaned.encode()
    assert cleaned == text[:20] or not text.isascii() or "\0" in text


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no pool of connections")
def test_no_connection_is_held_between_batches() -> None:
    """A stream may be open for hours; the writer's connection goes back to the pool after each batch."""
    assert connection.vendor == "postgresql"
    stored_exchange()
    assert connection.connection is None
