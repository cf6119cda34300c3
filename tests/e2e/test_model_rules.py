"""Which models a key may use, also within message batches, and batches that a budget cannot pay."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.served import Served, eventually, serve

pytestmark = [pytest.mark.e2e, pytest.mark.once]

HAIKU, OPUS, NOPE = "claude-haiku-4-5", "claude-opus-5", "claude-nope-9"
CHANGED = "; Installation.announce_change()"


@pytest.fixture
def nexus(standin: Standin, tmp_path: Path) -> Iterator[Served]:
    with serve(tmp_path, standin.url) as served:
        yield served


def post(nexus: Served, path: str, asked: object) -> rawhttp.Answer:
    headers = [("x-api-key", nexus.key), ("anthropic-version", "2023-06-01"), ("content-type", "application/json")]
    return rawhttp.request(nexus.port, "POST", path, headers, json.dumps(asked).encode())


def message(model: str, max_tokens: int = 50) -> dict[str, Any]:
    return {"model": model, "max_tokens": max_tokens, "messages": [{"role": "user", "content": "Hello"}]}


def ask(nexus: Served, model: str) -> rawhttp.Answer:
    return post(nexus, "/v1/messages", message(model))


def batch(nexus: Served, *models: str, max_tokens: int = 50) -> rawhttp.Answer:
    requests = [{"custom_id": str(number), "params": message(model, max_tokens)} for number, model in enumerate(models)]
    return post(nexus, "/v1/messages/batches", {"requests": requests})


def error_of(answer: rawhttp.Answer) -> dict[str, str]:
    error: dict[str, str] = json.loads(answer.body)["error"]
    return error


def test_a_model_that_is_not_allowed_is_refused_wherever_it_is_named(nexus: Served, standin: Standin) -> None:
    nexus.run(f"ClientKey.objects.update(allowed_models='claude-haiku-*'){CHANGED}")
    eventually(lambda: ask(nexus, OPUS).status == 403)
    refused = ask(nexus, OPUS)
    assert error_of(refused)["type"] == "permission_error"
    assert "claude-haiku-*" in error_of(refused)["message"]
    assert nexus.exchange(refused.header("x-nexus-request-id"))["refused_by"] == "key models"
    calls = len(standin.recorder.exchanges)
    assert batch(nexus, HAIKU, OPUS).status == 403
    assert post(nexus, "/v1/messages/count_tokens", {**message(OPUS), "max_tokens": None}).status == 403
    assert post(nexus, "/v1/complete", {"model": OPUS, "prompt": ""}).status == 403
    assert len(standin.recorder.exchanges) == calls
    assert ask(nexus, HAIKU).status == 200
    assert batch(nexus, HAIKU).status == 200
    assert json.loads(standin.recorder.last.body)["requests"][0]["params"]["model"] == HAIKU


def test_a_model_without_a_price_is_refused_where_that_is_the_rule(nexus: Served) -> None:
    assert ask(nexus, NOPE).status != 403
    nexus.run(f"Domain.objects.update(unpriced_models='refuse'){CHANGED}")
    eventually(lambda: ask(nexus, NOPE).status == 403)
    assert "has no price here" in error_of(ask(nexus, NOPE))["message"]
    assert batch(nexus, NOPE).status == 403
    assert ask(nexus, HAIKU).status == 200


def test_a_batch_sets_aside_what_it_may_cost_until_its_results_are_read(nexus: Served) -> None:
    nexus.run("Budget.objects.create(name='Batches', domain=Domain.objects.get(), period='day', amount_usd='1')")

    def left() -> Decimal:
        answer = post(nexus, "/v1/messages/count_tokens", {"model": HAIKU, "messages": message(HAIKU)["messages"]})
        return Decimal(answer.header("x-nexus-ratelimit-money-remaining") or "0")

    eventually(lambda: left() == 1)
    refused = batch(nexus, *[OPUS] * 10, max_tokens=20_000)  # 10 * 20,000 * 25 / 1,000,000 / 2 = 2.5 USD
    assert (refused.status, error_of(refused)["type"]) == (429, "billing_error")
    assert "may cost up to $2.5" in error_of(refused)["message"]
    made = batch(nexus, OPUS, max_tokens=20_000)
    assert made.status == 200
    row = nexus.exchange(made.header("x-nexus-request-id"))
    assert Decimal("0.25") < Decimal(str(row["assumed_cost"])) < Decimal("0.27")
    eventually(lambda: left() < Decimal("0.75"))
    batch_id = json.loads(made.body)["id"]
    headers = [("x-api-key", nexus.key), ("anthropic-version", "2023-06-01")]
    for path in ("", "/results"):
        assert rawhttp.request(nexus.port, "GET", f"/v1/messages/batches/{batch_id}{path}", headers).status == 200
    eventually(lambda: nexus.exchange(made.header("x-nexus-request-id"))["assumed_cost"] is None)


def test_a_model_without_a_price_counts_in_budgets_and_is_marked(nexus: Served) -> None:
    nexus.run(
        "from telemetry.models import PriceRow; from django.db import models; "
        "models.QuerySet(PriceRow).filter(pattern__startswith='claude-haiku-4-5').delete()" + CHANGED
    )

    def unpriced() -> dict[str, Any] | None:
        row = nexus.exchange(ask(nexus, HAIKU).header("x-nexus-request-id"))
        return row if row["pricing"] == "unpriced" else None

    row = eventually(unpriced)
    assert row is not None
    assert row["cost"] is None
    # As Claude Haiku 5.5 does, the dearest of its family that is left, or another haiku: not as Opus.
    assert 0 < Decimal(str(row["assumed_cost"])) < Decimal("0.01")
