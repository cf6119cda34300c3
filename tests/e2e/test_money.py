"""What an answer costs, from the wire to the row: a served Nexus in front of an API that answers what a test wants."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from bench import serving
from bench.asgi import App, Receive, Scope, Send, read_body
from bench.standin import Standin
from tests import rawhttp, streams
from tests.served import Served, eventually, serve
from tests.streams import render

pytestmark = [pytest.mark.e2e, pytest.mark.once_in_cluster]

FAST = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {
        "input_tokens": 50,
        "output_tokens": 20,
        "cache_read_input_tokens": 10_000,
        "cache_creation_input_tokens": 700,
        "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 400},
        "inference_geo": "us",
        "speed": "fast",
    },
}


def refused(category: str) -> bytes:
    start = streams.message_start(input_tokens=412)
    start["message"]["model"] = "claude-fable-5"
    end = streams.message_delta("refusal", usage={"output_tokens": 0})
    end["delta"]["stop_details"] = {"type": "refusal", "category": category, "explanation": None}
    return render([start, end, {"type": "message_stop"}])


ANSWERS: dict[str, tuple[bytes, bytes]] = {
    "fast": (b"application/json", json.dumps(FAST).encode()),
    "unknown": (b"application/json", json.dumps(FAST | {"model": "claude-nope-9"}).encode()),
    "error": (b"application/json", b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'),
    "cyber": (b"text/event-stream", refused("cyber")),
    "bio": (b"text/event-stream", refused("bio")),
}


def an_api() -> App:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        asked = json.loads(await read_body(receive))["messages"][0]["content"]
        content_type, body = ANSWERS[asked]
        status = 400 if asked == "error" else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type)]})
        await send({"type": "http.response.body", "body": body})

    return answer


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving.in_thread(an_api()) as url, serve(tmp_path_factory.mktemp("priced"), url) as served:
        yield served


def exchanged(served: Served, prompt: str, model: str = "claude-opus-5", stream: bool = False) -> dict[str, Any]:
    body = {"model": model, "max_tokens": 64, "stream": stream, "messages": [{"role": "user", "content": prompt}]}
    headers = [("x-api-key", served.key), ("anthropic-version", "2023-06-01"), ("content-type", "application/json")]
    answer = rawhttp.request(served.port, "POST", "/v1/messages", headers, json.dumps(body).encode())
    return served.exchange(answer.header("x-nexus-request-id"))


def booked(row: dict[str, Any]) -> tuple[str, Decimal | None]:
    cost = row["cost"]
    return row["pricing"], None if cost is None else round(Decimal(str(cost)), 10)


def used_prices(served: Served, row: dict[str, Any]) -> list[str]:
    patterns = {UUID(str(price["id"])): price["pattern"] for price in served.rows("telemetry_price")}
    return [patterns[UUID(each)] for each in row["price_ids"].split(",") if each]


def test_an_answer_in_fast_mode_in_the_us(priced: Served) -> None:
    row = exchanged(priced, "fast")
    # (50 * 5 + 300 * 6.25 + 400 * 10 + 10000 * 0.5 + 20 * 25) * 2 * 1.1 = 11625 * 2.2 millionths
    assert booked(row) == ("priced", Decimal("0.025575"))
    assert used_prices(priced, row) == ["claude-opus-5"]


@pytest.mark.parametrize(
    ("category", "expected"), [("cyber", ("free", Decimal(0))), ("bio", ("priced", Decimal("0.00412")))]
)
def test_a_refusal_before_any_output(priced: Served, category: str, expected: tuple[str, Decimal]) -> None:
    row = exchanged(priced, category, "claude-fable-5", stream=True)
    assert booked(row) == expected
    assert (bool(row["is_declined"]), row["refusals"], row["input_tokens"]) == (True, category, 412)


def test_an_error_is_free_and_a_model_that_nobody_knows_is_not(priced: Served) -> None:
    assert booked(exchanged(priced, "error")) == ("free", Decimal(0))
    assert booked(exchanged(priced, "unknown")) == ("unpriced", None)


@pytest.mark.parametrize("stream", [False, True])
def test_the_stand_ins_answers_cost_what_their_tokens_do(standin: Standin, nexus: Served, stream: bool) -> None:
    row = exchanged(nexus, "How much is it?", "claude-haiku-4-5", stream)
    assert row["output_tokens"] > 0
    assert booked(row) == ("priced", Decimal(row["input_tokens"] + 5 * row["output_tokens"]) / 1_000_000)
    assert used_prices(nexus, row) == ["claude-haiku-4-5-20251001"]


def test_a_new_price_counts_on_every_node_and_repricing_corrects_what_came_before(priced: Served) -> None:
    before = exchanged(priced, "unknown")
    assert booked(before) == ("unpriced", None)
    file = priced.data / "prices.json"
    model = {"litellm_provider": "anthropic", "mode": "chat", "input_cost_per_token": 5e-06,
             "output_cost_per_token": 2.5e-05, "provider_specific_entry": {"fast": 2, "us": 1.1}}  # fmt: skip
    file.write_text(json.dumps({"claude-nope-9": model}))
    options = ("--yes", "--accept-suspicious", "--valid-from", "2026-01-01")
    assert "Added 1 prices." in priced.nexus("import-prices", str(file), *options)
    eventually(lambda: booked(exchanged(priced, "unknown"))[0] == "priced")
    priced.nexus("reprice", "--yes", "--model", "claude-nope-9")
    assert booked(priced.exchange(str(before["id"]))) == ("priced", Decimal("0.025575"))
    (adjustment,) = [
        row for row in priced.rows("telemetry_adjustment") if UUID(str(row["exchange_id"])) == UUID(str(before["id"]))
    ]
    assert adjustment["cost_before"] is None
    assert "0 costs changed" in priced.nexus("reprice", "--yes")
