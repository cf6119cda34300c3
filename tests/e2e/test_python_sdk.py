"""The official Python SDK, pointed at Nexus by its base URL and key alone."""

import json
from typing import Any

import anthropic
import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.served import Served

pytestmark = [pytest.mark.e2e, pytest.mark.once]

MODEL = "claude-haiku-4-5"
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
def client(nexus: Served) -> Any:
    with anthropic.Anthropic(base_url=nexus.url, api_key=nexus.key, max_retries=0) as made:
        yield made


def ask(prompt: str) -> Any:
    return [{"role": "user", "content": prompt}]


def test_a_plain_message(client: anthropic.Anthropic, nexus: Served) -> None:
    raw = client.messages.with_raw_response.create(model=MODEL, max_tokens=100, messages=ask("Hello"))
    message = raw.parse()
    assert message.content[0].type == "text"
    assert message.stop_reason == "end_turn"
    row = nexus.exchange(raw.headers["x-nexus-request-id"])
    assert row["upstream_request_id"] == message._request_id
    assert (row["input_tokens"], row["output_tokens"]) == (message.usage.input_tokens, message.usage.output_tokens)
    assert (row["outcome"], row["message_id"]) == ("completed", message.id)


def test_a_stream(client: anthropic.Anthropic, nexus: Served) -> None:
    with client.messages.stream(model=MODEL, max_tokens=100, messages=ask("Hello")) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
        request_id = stream.response.headers["x-nexus-request-id"]
    assert text == "".join(block.text for block in message.content if block.type == "text")
    row = nexus.exchange(request_id)
    assert (row["input_tokens"], row["output_tokens"]) == (message.usage.input_tokens, message.usage.output_tokens)
    assert (bool(row["is_stream"]), row["usage_source"], row["stop_reason"]) == (True, "final", "end_turn")


def test_a_bearer_key(nexus: Served) -> None:
    with anthropic.Anthropic(base_url=nexus.url, auth_token=nexus.key, api_key=None, max_retries=0) as client:
        assert client.messages.create(model=MODEL, max_tokens=10, messages=ask("Hello")).role == "assistant"


@pytest.mark.parametrize("stream", [False, True])
def test_tool_use(client: anthropic.Anthropic, nexus: Served, stream: bool) -> None:
    arguments: Any = {"model": MODEL, "max_tokens": 200, "messages": ask("Weather?"), "tools": [WEATHER]}
    if stream:
        with client.messages.stream(**arguments) as events:
            message = events.get_final_message()
            request_id = events.response.headers["x-nexus-request-id"]
    else:
        raw = client.messages.with_raw_response.create(**arguments)
        message, request_id = raw.parse(), raw.headers["x-nexus-request-id"]
    assert message.stop_reason == "tool_use"
    call = next(block for block in message.content if block.type == "tool_use")
    assert isinstance(call.input, dict)
    assert set(call.input) == {"city"}
    assert nexus.exchange(request_id)["tool_calls"] == 1
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "Sunny."}
    turn = [*arguments["messages"], {"role": "assistant", "content": message.content}]
    turn.append({"role": "user", "content": [result]})
    answer = client.messages.create(**arguments | {"messages": turn})
    assert answer.stop_reason == "end_turn"


def test_thinking_comes_back_signed(client: anthropic.Anthropic) -> None:
    with client.messages.stream(
        model=MODEL,
        max_tokens=4000,
        messages=ask("Think."),
        thinking={"type": "enabled", "budget_tokens": 1024},
    ) as stream:
        message = stream.get_final_message()
    thinking = next(block for block in message.content if block.type == "thinking")
    assert thinking.thinking
    assert thinking.signature


def test_count_tokens_is_free(client: anthropic.Anthropic, nexus: Served) -> None:
    raw = client.messages.with_raw_response.count_tokens(model=MODEL, messages=ask("Hello"))
    assert raw.parse().input_tokens > 0
    row = nexus.exchange(raw.headers["x-nexus-request-id"])
    assert (row["kind"], row["usage_source"], row["input_tokens"]) == ("count_tokens", "none", 0)


def test_models(client: anthropic.Anthropic) -> None:
    models = list(client.models.list(limit=2))
    assert len(models) > 2
    assert client.models.retrieve(models[0].id).id == models[0].id


def test_batches_and_their_results(client: anthropic.Anthropic, nexus: Served) -> None:
    """The results by their path: `results_url` names the API's own host, and no byte of an answer is changed."""
    requests: Any = [{"custom_id": "a", "params": {"model": MODEL, "max_tokens": 10, "messages": ask("Hello")}}]
    batch = client.messages.batches.create(requests=requests)
    assert client.messages.batches.retrieve(batch.id).id == batch.id
    headers = [("x-api-key", nexus.key), ("anthropic-version", "2023-06-01")]
    results = rawhttp.request(nexus.port, "GET", f"/v1/messages/batches/{batch.id}/results", headers)
    assert [json.loads(line)["custom_id"] for line in results.body.splitlines()] == ["a"]


def test_the_sdk_retries_an_overloaded_api_through_us(nexus: Served, standin: Standin) -> None:
    seen = standin.recorder.stats()["requests"]
    with anthropic.Anthropic(base_url=nexus.url, api_key=nexus.key, max_retries=2) as client:
        prompt = "[[standin status=529 times=1 key=python-sdk retry_after=0.01]]"
        assert client.messages.create(model=MODEL, max_tokens=10, messages=ask(prompt)).role == "assistant"
    assert standin.recorder.stats()["requests"] == seen + 2


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, anthropic.BadRequestError),
        (404, anthropic.NotFoundError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
    ],
)
def test_an_error_is_the_apis_own(
    client: anthropic.Anthropic, standin: Standin, status: int, error: type[anthropic.APIStatusError]
) -> None:
    with pytest.raises(error) as raised:
        client.messages.create(model=MODEL, max_tokens=10, messages=ask(f"[[standin status={status}]]"))
    sent = standin.recorder.last
    assert raised.value.request_id == dict(sent.sent_headers)["request-id"]
    assert raised.value.body == json.loads(sent.sent)


def test_an_error_of_ours_reads_like_the_apis(nexus: Served) -> None:
    with (
        anthropic.Anthropic(base_url=nexus.url, api_key="nxs_live_wrong", max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError, match="not known") as raised,
    ):
        client.messages.create(model=MODEL, max_tokens=10, messages=ask("Hello"))
    assert raised.value.request_id == raised.value.response.headers["x-nexus-request-id"]


@pytest.mark.parametrize("trouble", ["error_at=3", "die_at=3"])
def test_trouble_in_mid_stream_is_an_error_to_the_sdk(client: anthropic.Anthropic, trouble: str) -> None:
    with (
        pytest.raises(anthropic.APIStatusError),
        client.messages.stream(model=MODEL, max_tokens=100, messages=ask(f"[[standin {trouble}]]")) as stream,
    ):
        stream.get_final_message()


def test_a_cancelled_stream(client: anthropic.Anthropic, nexus: Served) -> None:
    with client.messages.stream(model=MODEL, max_tokens=100, messages=ask("[[standin silent_at=3]]")) as stream:
        next(iter(stream.text_stream))
        request_id = stream.response.headers["x-nexus-request-id"]
    row = nexus.exchange(request_id)
    assert (row["outcome"], row["usage_source"]) == ("cancelled", "estimated")


@pytest.mark.anyio
async def test_the_async_client_and_many_streams_at_once(nexus: Served) -> None:
    import anyio

    texts: list[str] = []

    async def one(client: anthropic.AsyncAnthropic) -> None:
        async with client.messages.stream(model=MODEL, max_tokens=100, messages=ask("Hello")) as stream:
            texts.append(await stream.get_final_text())

    async with (
        anthropic.AsyncAnthropic(base_url=nexus.url, api_key=nexus.key, max_retries=0) as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(40):
            group.start_soon(one, client)
    assert len(texts) == 40
    assert all(texts)
