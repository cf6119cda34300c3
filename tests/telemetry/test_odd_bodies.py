import gzip

import pytest
from django.test import Client

from tests.telemetry.facts import stored_exchange

pytestmark = pytest.mark.django_db(transaction=True)
ODD = {
    "a nesting bomb": b"[" * 200_000,
    "deep JSON": b"[" * 5000 + b"]" * 5000,
    "a deep stream": b'event: message_start\ndata: {"message":' + b"[" * 200_000 + b"\n\n",
    "a message that is deep inside": b'event: message_start\ndata: {"type":"message_start","message":{"x":'
    + b"[" * 900
    + b"]" * 900
    + b"}}\n\n",
    "invalid UTF-8": b'{"a":"\xff"}',
    "a lone surrogate": b'{"a":"\\ud83d"}',
    "a long number": b"1" * 5000,
    "compressed": gzip.compress(b"{}"),
    "NUL": b"\0",
    "much": b"x" * 1_000_000,
}


@pytest.mark.parametrize("body", ODD)
def test_the_page_of_an_exchange_opens_whatever_its_bodies_are(admin_client: Client, body: str) -> None:
    row = stored_exchange(ODD[body], ODD[body])
    assert admin_client.get(f"/admin/telemetry/exchangerow/{row.id}/change/").status_code == 200
