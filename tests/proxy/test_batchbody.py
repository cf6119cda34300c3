"""What a body says that is no messages request."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from accounts.ids import new_id
from proxy.batchbody import PATH, read
from proxy.errors import InvalidRequest
from telemetry.money.pricing import Price, PriceList, Rates

RATES = Rates(Decimal(1), Decimal(5), Decimal("0.1"), Decimal("1.25"), Decimal(2))
PRICES = PriceList([Price(id=new_id(), pattern="claude-*", valid_from=datetime(2026, 1, 1, tzinfo=UTC), rates=RATES)])


def batch(*params: object) -> bytes:
    return json.dumps({"requests": [{"custom_id": "a", "params": each} for each in params]}).encode()


def test_a_batch_names_all_its_models_and_what_it_may_cost_at_most() -> None:
    one = {"model": "claude-haiku-4-5", "max_tokens": 1000, "messages": []}
    errand = read(PATH, batch(one, {**one, "model": "claude-opus-5"}), PRICES)
    assert errand.models == {"claude-haiku-4-5", "claude-opus-5"}
    # Each: all its bytes at 2 USD a million, 1,000 tokens of output at 5, and half of that since it is a batch.
    sizes = sum(len(json.dumps({**one, "model": model})) for model in errand.models)
    assert errand.estimate.cost_units >= (sizes * 2 + 2 * 1000 * 5) * 10**10 // 10**6 // 2


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"requests": 1}', b'{"requests": [{"params": {"model": 5}}]}', b'{"requests": [3]}']
)
def test_a_batch_of_which_nothing_can_be_told_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read(PATH, body, PRICES)


@pytest.mark.parametrize(
    ("body", "models"),
    [
        (b'{"model": "claude-2.1", "prompt": ""}', {"claude-2.1"}),
        (b'{"model": {"id": "claude-opus-5", "speed": "fast"}}', {"claude-opus-5", "fast"}),
        (b'{"name": "no model"}', set()),
        (b"[1]", set()),
        (b"not json", set()),
        (b"\xff", set()),
    ],
)
def test_other_bodies_name_a_model_or_none(body: bytes, models: set[str]) -> None:
    assert read("/v1/complete", body, PRICES).models == models
