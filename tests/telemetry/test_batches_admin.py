import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.ids import new_id
from accounts.models import ClientKey
from telemetry.models import BatchRow, BatchUsageRow

pytestmark = pytest.mark.django_db
LIST = "/admin/telemetry/batchrow/"
CREATED = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def key(issued: tuple[ClientKey, str]) -> ClientKey:
    return issued[0]


def made(key: ClientKey, number: int = 0, costs: tuple[Decimal | None, ...] = (), **changes: Any) -> BatchRow:
    facts: dict[str, Any] = {"created_by": new_id(), "created_at": CREATED + timedelta(minutes=number)}
    if costs:
        facts |= {"booked_id": new_id(), "booked_at": CREATED, "succeeded": 1234, "expired": 5}
    owner: Any = {"domain_id": key.domain_id, "client_key_id": key.id}
    batch = BatchRow.objects.create(id=f"msgbatch_{number}", credential_source="domain", **owner, **facts | changes)
    counts: Any = dict.fromkeys(
        ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"), 77
    )
    for index, cost in enumerate(costs):
        BatchUsageRow.objects.create(
            id=new_id(), batch=batch, booked_id=new_id(), model=f"model-{index}", web_search_requests=0, charges="[]",
            pricing="unpriced" if cost is None else "priced", cost=cost, **owner, **counts,
        )  # fmt: skip
    return batch


def page(client: Client, batch: BatchRow | None = None) -> str:
    answer = client.get(f"{LIST}{quote(batch.id)}/change/" if batch else LIST)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def test_a_batch_says_what_it_cost(admin_client: Client, key: ClientKey) -> None:
    batch = made(key, costs=(Decimal("1.5"), Decimal("0.25")))
    for shown in (page(admin_client), page(admin_client, batch)):
        assert "1.7500" in shown
        assert key.name in shown
    assert "1,234 / 5" in page(admin_client)
    one = page(admin_client, batch)
    assert len(re.findall(r'<td class="[^"]*field-model ', one)) == 2
    assert "model-1" in one
    assert "what has no price" not in one


def test_a_cost_that_is_not_whole_says_so(admin_client: Client, key: ClientKey) -> None:
    made(key, costs=(Decimal("1.5"), None))
    assert "1.5000, and what has no price" in page(admin_client)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "results not read through Nexus yet"),
        ({"unreadable": 3}, "3 lines of the results could not be read"),
        ({"booked_id": new_id(), "booked_at": CREATED}, "booked"),
        ({"booked_id": new_id(), "booked_at": CREATED, "created_by": None}, "booked to the key that read it"),
    ],
)
def test_its_state_is_told(admin_client: Client, key: ClientKey, changes: dict[str, Any], told: str) -> None:
    batch = made(key, **changes)
    for shown in (page(admin_client), page(admin_client, batch)):
        assert told in shown
        assert ("not read through" in shown) == ("not read through" in told)


def test_the_list_costs_the_same_for_one_and_for_many(
    admin_client: Client, key: ClientKey, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(30):
        made(key, number, costs=(Decimal(1), Decimal(2)))
    with django_assert_max_num_queries(8):
        assert page(admin_client).count("3.0000") == 30


def test_a_batch_is_found_by_its_id(admin_client: Client, key: ClientKey) -> None:
    made(key, 1)
    made(key, 2)
    found = admin_client.get(LIST, {"q": "msgbatch_2"}).content.decode()
    assert f"{quote('msgbatch_2')}/change" in found
    assert f"{quote('msgbatch_1')}/change" not in found


def test_nobody_can_change_a_batch(admin_client: Client, key: ClientKey) -> None:
    batch = made(key, costs=(Decimal(1),))
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.post(f"{LIST}{quote(batch.id)}/change/", {"succeeded": 1}).status_code == 403
    assert admin_client.post(f"{LIST}{quote(batch.id)}/delete/", {"post": "yes"}).status_code == 403
