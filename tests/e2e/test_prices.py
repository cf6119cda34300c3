"""What a request costs, from the price in the admin to the row of the record."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.served import Served, eventually, serve

pytestmark = [pytest.mark.e2e, pytest.mark.once_in_cluster]

TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
NEW_PRICE = """
from datetime import timedelta
from django.utils import timezone
from telemetry.models import PriceRow
row = PriceRow.objects.create(
    pattern={pattern!r}, valid_from=timezone.now() - timedelta(hours=1), source="a test", input=1, output=2,
    cache_write_5m=3, cache_write_1h=4, cache_read=5,
)
print(row.id)
"""


@pytest.fixture(scope="module")
def priced(standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("priced"), standin.url) as served:
        yield served


def asked(served: Served, model: str, *, stream: bool) -> dict[str, Any]:
    body = {"model": model, "max_tokens": 64, "stream": stream, "messages": [{"role": "user", "content": "Hello"}]}
    headers = [("host", "localhost"), ("x-api-key", served.key), ("anthropic-version", "2023-06-01")]
    answer = rawhttp.request(served.port, "POST", "/v1/messages", headers, json.dumps(body).encode())
    assert answer.status == 200
    return served.exchange(answer.header("x-nexus-request-id"))


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_priced_by_what_it_used(priced: Served, stream: bool) -> None:
    row = asked(priced, "claude-haiku-4-5", stream=stream)

    tokens = [row[name] for name in TOKENS]
    assert row["pricing"] == "priced"
    assert tokens[0]
    assert tokens[1]
    usd_per_mtok = (Decimal(1), Decimal(5), Decimal("0.1"), Decimal("1.25"), Decimal(2))
    expected = sum(count * price for count, price in zip(tokens, usd_per_mtok, strict=True)) / 1_000_000
    assert Decimal(str(row["cost"])).quantize(Decimal("1e-10")) == expected.quantize(Decimal("1e-10"))
    assert len(row["price_ids"].split(",")) == 1


def test_a_model_without_a_price_is_unpriced_until_it_has_one(priced: Served) -> None:
    model = "claude-unheard-of-7"
    row = asked(priced, model, stream=False)
    assert (row["pricing"], row["cost"], row["price_ids"]) == ("unpriced", None, "")

    price_id = priced.run(NEW_PRICE.format(pattern=f"{model}*"))

    known = eventually(lambda: (row := asked(priced, model, stream=False))["pricing"] == "priced" and row, seconds=5)
    assert known["price_ids"] == price_id


def test_what_is_refused_costs_nothing(priced: Served) -> None:
    headers = [("host", "localhost"), ("x-api-key", "nxs_live_wrong"), ("anthropic-version", "2023-06-01")]
    answer = rawhttp.request(priced.port, "POST", "/v1/messages", headers, b"{}")

    row = priced.exchange(answer.header("x-nexus-request-id"))
    assert (row["status"], row["pricing"], Decimal(str(row["cost"]))) == (401, "free", Decimal(0))
