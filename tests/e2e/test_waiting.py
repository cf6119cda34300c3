"""Waiting for room in a limit, as the official SDK and a plain client live it."""

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.served import Served, eventually, serve

pytestmark = pytest.mark.e2e

ONE_AT_A_TIME = (
    "Domain.objects.update(max_wait_seconds={seconds}); "
    "RateLimit.objects.create(domain=Domain.objects.get(), concurrent_requests=1); Installation.announce_change()"
)
SLOW = "[[standin first_byte_ms=1500]] Hello"


@pytest.fixture
def nexus(standin: Standin, tmp_path: Path) -> Iterator[Served]:
    with serve(tmp_path, standin.url, LIMIT_QUEUE_KEEPALIVE_AFTER="0.2", LIMIT_QUEUE_KEEPALIVE_EVERY="0.2") as served:
        yield served


def limit(nexus: Served, seconds: int) -> None:
    nexus.run(ONE_AT_A_TIME.format(seconds=seconds))
    eventually(lambda: post(nexus, "Hello", is_counted=True).header("x-nexus-ratelimit-concurrent-requests-limit"))


def post(nexus: Served, prompt: str, *, is_stream: bool = False, is_counted: bool = False) -> rawhttp.Answer:
    path = "/v1/messages/count_tokens" if is_counted else "/v1/messages"
    return rawhttp.request(nexus.port, "POST", path, headers(nexus), body(prompt, is_stream=is_stream))


def headers(nexus: Served) -> list[tuple[str, str]]:
    return [("x-api-key", nexus.key), ("anthropic-version", "2023-06-01")]


def body(prompt: str, *, is_stream: bool) -> bytes:
    asked = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": [{"role": "user", "content": prompt}]}
    return json.dumps({**asked, "stream": is_stream}).encode()


async def both(nexus: Served, *, is_stream: bool) -> tuple[Any, Any]:
    """One request, and a second one while it runs."""
    first = asyncio.create_task(asyncio.to_thread(post, nexus, SLOW))
    await asyncio.sleep(0.5)
    return await asyncio.to_thread(post, nexus, "Hello", is_stream=is_stream), await first


def test_the_second_waits_until_the_first_has_ended(nexus: Served) -> None:
    limit(nexus, 30)
    second, first = asyncio.run(both(nexus, is_stream=False))
    assert (first.status, second.status) == (200, 200)
    row = nexus.exchange(second.header("x-nexus-request-id"))
    assert row["waited_ms"] > 300
    assert row["overhead_us"] < 300_000
    assert nexus.exchange(first.header("x-nexus-request-id"))["waited_ms"] == 0


def test_a_stream_that_waits_is_kept_alive_and_comes_whole(nexus: Served, standin: Standin) -> None:
    limit(nexus, 30)
    second, _ = asyncio.run(both(nexus, is_stream=True))
    assert second.status == 200
    assert second.body.startswith(b": waiting for room in a limit\n\n")
    assert second.body.rpartition(b": waiting for room in a limit\n\n")[2] == standin.recorder.last.sent


def test_the_sdk_reads_a_stream_that_waited(nexus: Served) -> None:
    limit(nexus, 30)

    def read() -> str:
        with (
            anthropic.Anthropic(base_url=nexus.url, api_key=nexus.key, max_retries=0) as client,
            client.messages.stream(
                model="claude-haiku-4-5", max_tokens=50, messages=[{"role": "user", "content": "Hello"}]
            ) as stream,
        ):
            return stream.get_final_text()

    async def run() -> str:
        first = asyncio.create_task(asyncio.to_thread(post, nexus, SLOW))
        await asyncio.sleep(0.5)
        text = await asyncio.to_thread(read)
        await first
        return text

    assert asyncio.run(run())


def test_a_refusal_after_comments_is_an_error_event(nexus: Served) -> None:
    limit(nexus, 1)

    def read() -> anthropic.APIStatusError:
        with (
            anthropic.Anthropic(base_url=nexus.url, api_key=nexus.key, max_retries=0) as client,
            pytest.raises(anthropic.APIStatusError) as refused,
            client.messages.stream(
                model="claude-haiku-4-5", max_tokens=50, messages=[{"role": "user", "content": "Hello"}]
            ) as stream,
        ):
            stream.get_final_text()
        return refused.value

    async def run() -> anthropic.APIStatusError:
        first = asyncio.create_task(asyncio.to_thread(post, nexus, "[[standin first_byte_ms=4000]] Hello"))
        await asyncio.sleep(0.5)
        error = await asyncio.to_thread(read)
        await first
        return error

    told: Any = asyncio.run(run()).body
    assert told["error"]["type"] == "rate_limit_error"
    assert "has waited for 1 s" in told["error"]["message"]


def test_an_error_of_the_api_after_comments_is_an_error_event(nexus: Served) -> None:
    limit(nexus, 30)

    async def run() -> rawhttp.Answer:
        first = asyncio.create_task(asyncio.to_thread(post, nexus, SLOW))
        await asyncio.sleep(0.5)
        second = await asyncio.to_thread(post, nexus, "[[standin status=529]]", is_stream=True)
        await first
        return second

    answer = asyncio.run(run())
    event = answer.body.rpartition(b"event: error\ndata: ")[2]
    assert json.loads(event)["error"]["type"] == "overloaded_error"
    row = nexus.exchange(answer.header("x-nexus-request-id"))
    assert (row["outcome"], row["error_type"]) == ("api_error", "overloaded_error")


def test_who_leaves_while_it_waits_holds_up_nobody(nexus: Served) -> None:
    limit(nexus, 30)

    async def run() -> rawhttp.Answer:
        first = asyncio.create_task(asyncio.to_thread(post, nexus, SLOW))
        await asyncio.sleep(0.3)
        with socket.create_connection(("127.0.0.1", nexus.port)) as leaving:
            sent = body("Hello", is_stream=False)
            leaving.sendall(rawhttp.head("POST", "/v1/messages", headers(nexus), len(sent)) + sent)
            await asyncio.sleep(0.3)
        third = await asyncio.to_thread(post, nexus, "Hello")
        await first
        return third

    assert asyncio.run(run()).status == 200
    rows = eventually(lambda: [row for row in nexus.rows("telemetry_exchange") if row["outcome"] == "cancelled"])
    assert [row["attempts"] for row in rows] == [0]
