"""Exchanges by what people have in hand, each by an index."""

import pytest
from django.db import connection

from accounts.ids import new_id
from telemetry.lookup import exchanges_called
from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db
THEIR_UUID = "3f1c8f0e-58a8-4c55-9c0f-0b7a7bd0c001"


def ids(name: str) -> list[str]:
    return [str(row.id) for row in exchanges_called(name)]


def test_by_each_of_its_names_and_no_other() -> None:
    one = stored_exchange(upstream_request_id="req_01", correlation_id="lb-1")
    other = stored_exchange(upstream_request_id="lb-1", correlation_id=THEIR_UUID)
    unnamed = stored_exchange(upstream_request_id="", correlation_id="")
    assert ids(str(one.id)) == [str(one.id)]
    assert ids("req_01") == [str(one.id)]
    assert ids("lb-1") == [str(other.id), str(one.id)]  # the newest first
    assert ids(THEIR_UUID) == [str(other.id)]
    assert ids(str(unnamed.id)) == [str(unnamed.id)]
    assert ids("") == ids("lb-2") == ids(str(new_id())) == []


@pytest.mark.parametrize("name", ["lb-1", THEIR_UUID])
def test_the_whole_table_is_never_read(name: str) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")  # a small table is read whole for good reason
    plan = exchanges_called(name).explain()
    assert "SCAN telemetry_exchange" not in plan
    assert "Seq Scan" not in plan
    assert "exchange_correlation" in plan
