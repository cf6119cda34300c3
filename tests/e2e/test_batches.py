"""Message batches through a served Nexus: created with the official SDK, their results read by their path."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import anthropic
import pytest
from anthropic._decoders.jsonl import JSONLDecoder
from anthropic.types.messages import MessageBatchIndividualResponse

from bench.standin import Standin
from tests import rawhttp
from tests.served import FAKE_UPSTREAM_KEY, Served, eventually, serve

pytestmark = pytest.mark.e2e

HAIKU = "claude-haiku-4-5-20251001"
OPUS = "claude-opus-4-5-20251101"
USD_PER_MTOK = {HAIKU: (Decimal(1), Decimal("1.25"), Decimal("0.1"), Decimal(5))}
USD_PER_MTOK[OPUS] = (Decimal(5), Decimal("6.25"), Decimal("0.5"), Decimal(25))
CACHED = {"cache_control": {"type": "ephemeral"}}


@pytest.fixture
def client(nexus: Served) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=nexus.url, api_key=nexus.key, max_retries=0) as made:
        yield made


def asked(prompt: str, model: str = "claude-haiku-4-5") -> Any:
    content = [{"type": "text", "text": prompt} | CACHED]
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": content}]}


def create(client: anthropic.Anthropic, *params: Any) -> tuple[str, str]:
    """The ids of the batch and of the exchange. It has ended."""
    requests: Any = [{"custom_id": f"r{number}", "params": each} for number, each in enumerate(params)]
    raw = client.messages.batches.with_raw_response.create(requests=requests)
    batch_id = raw.parse().id
    assert client.messages.batches.retrieve(batch_id).processing_status == "ended"
    return batch_id, raw.headers.get("x-nexus-request-id", "")


def results_path(batch_id: str) -> str:
    return f"/v1/messages/batches/{batch_id}/results"


def read(nexus: Served, batch_id: str, key: str = "", *more: tuple[str, str]) -> rawhttp.Answer:
    headers = [("x-api-key", key or nexus.key), ("anthropic-version", "2023-06-01"), *more]
    return rawhttp.request(nexus.port, "GET", results_path(batch_id), headers)


def batch_row(nexus: Served, batch_id: str) -> dict[str, Any]:
    (row,) = eventually(lambda: [row for row in nexus.rows("telemetry_batch") if row["id"] == batch_id])
    return row


def usage_rows(nexus: Served, batch_id: str) -> dict[str, dict[str, Any]]:
    rows = [row for row in nexus.rows("telemetry_batch_usage") if row["batch_id"] == batch_id]
    assert len({row["model"] for row in rows}) == len(rows)
    return {row["model"]: row for row in rows}


def booked(nexus: Served, batch_id: str) -> dict[str, dict[str, Any]]:
    eventually(lambda: batch_row(nexus, batch_id)["booked_id"])
    return usage_rows(nexus, batch_id)


def at_half_price(model: str, body: bytes) -> Decimal:
    """Worked out from the lines by hand."""
    total = Decimal(0)
    for line in body.splitlines():
        result = json.loads(line)["result"]
        if result["type"] == "succeeded" and result["message"]["model"] == model:
            usage = result["message"]["usage"]
            names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
            for name, rate in zip(names, USD_PER_MTOK[model], strict=True):
                total += rate * usage[name]
    return total / 2 / 1_000_000


def test_a_batch_is_booked_once_at_half_price_to_the_key_that_created_it(
    nexus: Served, client: anthropic.Anthropic, standin: Standin
) -> None:
    batch_id, creating = create(
        client,
        asked("Hello"),
        asked("Hello"),
        asked("Hello", "claude-opus-4-5"),
        asked("[[standin status=400]]"),
        asked("[[standin result=expired]]"),
        asked("[[standin result=canceled]]"),
    )
    created = nexus.exchange(creating)
    assert (created["batch_id"], created["pricing"], Decimal(created["cost"])) == (batch_id, "free", Decimal(0))
    assert batch_row(nexus, batch_id)["booked_id"] is None

    reader = nexus.nexus("issue-key", "--domain", "localhost", "--name", f"reader of {batch_id}")
    answer = eventually(lambda: (found := read(nexus, batch_id, reader)).status == 200 and found)
    assert answer
    assert answer.body == standin.recorder.last.sent
    usage = booked(nexus, batch_id)
    row = batch_row(nexus, batch_id)
    assert (row["succeeded"], row["errored"], row["expired"], row["canceled"]) == (3, 1, 1, 1)
    assert UUID(str(row["created_by"])) == UUID(creating)
    assert set(usage) == {HAIKU, OPUS}
    for model, each in usage.items():
        assert Decimal(str(each["cost"])) == at_half_price(model, answer.body) > 0
        assert (each["client_key_id"], each["domain_id"]) == (created["client_key_id"], created["domain_id"])
        assert json.loads(each["charges"])[0]["terms"]["is_batch"] is True

    again = read(nexus, batch_id)
    seen = nexus.exchange(again.header("x-nexus-request-id"))
    assert (seen["batch_id"], seen["pricing"], seen["input_tokens"]) == (batch_id, "free", 0)
    assert usage_rows(nexus, batch_id) == usage
    assert batch_row(nexus, batch_id) == row
    reading = nexus.exchange(str(UUID(str(row["booked_id"]))))
    assert reading["client_key_id"] != created["client_key_id"]


def test_no_byte_is_changed_either_way(nexus: Served, standin: Standin) -> None:
    request = json.dumps({"requests": [{"custom_id": "ü", "params": asked("Hello")}], "unknown": [1.0]}, indent=1)
    headers = [("x-api-key", nexus.key), ("anthropic-version", "2023-06-01"), ("content-type", "application/json")]
    made = rawhttp.request(nexus.port, "POST", "/v1/messages/batches?beta=true", headers, request.encode())
    assert standin.recorder.last.body == request.encode()
    assert made.status == 200
    assert made.body == standin.recorder.last.sent
    batch_id = json.loads(made.body)["id"]
    rawhttp.request(nexus.port, "GET", f"/v1/messages/batches/{batch_id}", headers)
    answer = read(nexus, batch_id, "", ("accept", "application/binary"))
    sent = standin.recorder.last
    assert answer.status == 200
    assert answer.body == sent.sent
    ours = ("x-nexus-request-id", "x-nexus-ratelimit-", "transfer-encoding")
    assert [pair for pair in answer.headers if not pair[0].startswith(ours)] == [
        (name.lower(), value) for name, value in sent.sent_headers if name.lower() != "transfer-encoding"
    ]
    assert set(booked(nexus, batch_id)) == {HAIKU}


def test_what_breaks_or_is_left_half_way_is_not_booked(nexus: Served, client: anthropic.Anthropic) -> None:
    batch_id, _ = create(client, asked("Hello there"), asked("Hello again"))
    broken = read(nexus, batch_id, "", ("x-standin", "die_at=1"))
    assert not broken.is_complete
    row = nexus.exchange(broken.header("x-nexus-request-id"))
    assert (row["outcome"], row["batch_id"]) == ("broken", batch_id)
    assert batch_row(nexus, batch_id)["booked_id"] is None
    refused = read(nexus, batch_id, "", ("x-standin", "status=529"))
    row = nexus.exchange(refused.header("x-nexus-request-id"))
    assert (row["outcome"], row["error_type"]) == ("api_error", "overloaded_error")
    assert usage_rows(nexus, batch_id) == {}
    assert read(nexus, batch_id).is_complete
    assert set(booked(nexus, batch_id)) == {HAIKU}


def test_the_sdk_reads_the_lines_by_their_path(nexus: Served, client: anthropic.Anthropic) -> None:
    batch_id, _ = create(client, asked("One"), asked("[[standin status=400]]"))
    decoder = JSONLDecoder[MessageBatchIndividualResponse]
    lines = client.get(results_path(batch_id), cast_to=decoder, stream=True)
    assert {line.custom_id: line.result.type for line in lines} == {"r0": "succeeded", "r1": "errored"}
    assert booked(nexus, batch_id)[HAIKU]["output_tokens"] > 0


def test_a_batch_that_nexus_did_not_see_created_is_booked_to_its_reader(nexus: Served, standin: Standin) -> None:
    with anthropic.Anthropic(base_url=standin.url, api_key=FAKE_UPSTREAM_KEY, max_retries=0) as direct:
        batch_id, _ = create(direct, asked("Hello"))
    answer = read(nexus, batch_id)
    usage = booked(nexus, batch_id)[HAIKU]
    reading = nexus.exchange(answer.header("x-nexus-request-id"))
    assert usage["client_key_id"] == reading["client_key_id"]
    assert batch_row(nexus, batch_id)["created_by"] is None


def test_a_domain_that_keeps_nothing_pays_for_its_batches_all_the_same(standin: Standin, tmp_path: Path) -> None:
    with serve(tmp_path, standin.url) as served:
        served.run("Domain.objects.update(storage='none'); Installation.announce_change()")
        with anthropic.Anthropic(base_url=served.url, api_key=served.key, max_retries=0) as client:
            batch_id, _ = create(client, asked("Hello"))
        body = read(served, batch_id).body
        assert Decimal(str(booked(served, batch_id)[HAIKU]["cost"])) == at_half_price(HAIKU, body)
