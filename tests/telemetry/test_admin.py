import json

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries

from accounts.models import ClientKey
from tests.streams import STREAMS
from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/admin/telemetry/exchangerow/"
HOSTILE = "<script>alert('x')</script>"


def test_the_list_is_empty_at_first(admin_client: Client) -> None:
    assert admin_client.get(LIST).status_code == 200


def test_the_list_costs_the_same_for_one_and_for_many(
    admin_client: Client, issued: tuple[ClientKey, str], django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    key, _ = issued
    for _ in range(30):
        stored_exchange(client_key_id=key.id, domain_id=key.domain_id)
    with django_assert_max_num_queries(6):
        page = admin_client.get(LIST).content.decode()
    assert page.count("Ada&#x27;s laptop") == 30


def test_the_list_counts_no_further_than_somebody_pages(admin_client: Client) -> None:
    stored_exchange()
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(LIST)
    (count,) = [query["sql"] for query in queries if "COUNT(" in query["sql"] and "telemetry_exchange" in query["sql"]]
    assert "LIMIT 10000" in count


def test_an_exchange_is_found_by_each_of_its_ids(admin_client: Client) -> None:
    wanted = stored_exchange(session_id="0b5c0b3a-1111-4000-8000-000000000000", upstream_request_id="req_01wanted")
    stored_exchange(session_id="other")
    for term in (str(wanted.id), f" {wanted.id} ", wanted.session_id, "req_01wanted"):
        page = admin_client.get(LIST, {"q": term}).content.decode()
        assert f"{LIST}{wanted.id}/" in page
        assert page.count("field-status ") == 1
    assert "field-status " not in admin_client.get(LIST, {"q": "no-such-id"}).content.decode()


@pytest.mark.parametrize(
    ("request_body", "response_body", "shown"),
    [
        (b'{"model":"m","x":[1,2]}', b'{"type":"message"}', ["&quot;model&quot;: &quot;m&quot;"]),
        (b"not json \xff\xfe", b"\x00\x01", ["not json"]),
        (b"", b"", ["Empty."]),
        (b"{}", STREAMS["text"], ["event: message_start", "&quot;end_turn&quot;"]),
        (HOSTILE.encode(), json.dumps({"a": HOSTILE}).encode(), ["&lt;script&gt;"]),
    ],
)
def test_bodies_are_readable(admin_client: Client, request_body: bytes, response_body: bytes, shown: list[str]) -> None:
    row = stored_exchange(request_body, response_body, model=HOSTILE, user_agent=HOSTILE)
    page = admin_client.get(f"{LIST}{row.id}/change/").content.decode()
    for text in shown:
        assert text in page
    assert HOSTILE not in page


def test_nobody_can_change_the_record(admin_client: Client) -> None:
    row = stored_exchange()
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.post(f"{LIST}{row.id}/change/", {"model": "x"}).status_code == 403
    assert admin_client.post(f"{LIST}{row.id}/delete/", {"post": "yes"}).status_code == 403
