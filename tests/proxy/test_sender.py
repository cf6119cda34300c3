import json

import pytest

from proxy.errors import MethodNotAllowed, UpstreamBroke
from proxy.sender import Sender
from tests.drive import ScriptedClient

pytestmark = pytest.mark.anyio
ERROR = UpstreamBroke("It broke.")


async def test_before_the_head_a_failure_is_an_answer() -> None:
    client = ScriptedClient()
    await Sender(client.send, "id-1").fail(MethodNotAllowed("Not so.", "POST"))
    start, body, end = client.received
    assert start["status"] == 405
    headers = dict(start["headers"])
    assert (headers[b"allow"], headers[b"x-should-retry"], headers[b"request-id"]) == (b"POST", b"false", b"id-1")
    assert headers[b"content-length"] == str(len(body["body"])).encode()
    assert json.loads(body["body"])["request_id"] == "id-1"
    assert not end["more_body"]


async def test_nothing_was_told_until_the_head_has_left() -> None:
    async def broken(message: object) -> None:
        raise RuntimeError("the server does not take this head")

    sender = Sender(broken, "id-1")
    with pytest.raises(RuntimeError):
        await sender.start(600, [])
    assert sender.status is None


@pytest.mark.parametrize(("status", "kind"), [(204, b""), (304, b"text/html"), (200, b"text/event-stream")])
async def test_what_may_end_otherwise_promises_no_length(status: int, kind: bytes) -> None:
    client = ScriptedClient()
    await Sender(client.send, "id-1").start(status, [(b"content-type", kind), (b"content-length", b"5")])
    assert b"content-length" not in dict(client.received[0]["headers"])


async def test_in_a_stream_it_is_an_event() -> None:
    client = ScriptedClient()
    sender = Sender(client.send, "id-1")
    await sender.start(200, [(b"content-type", b"text/event-stream; charset=utf-8")])
    await sender.body(b'event: content_block_delta\ndata: {"half')
    await sender.fail(ERROR)
    *_, event, end = client.received
    assert event["body"].startswith(b"\nevent: error\ndata: {")
    assert event["body"].endswith(b"}\n\n")
    assert not end["more_body"]


async def test_in_any_other_body_it_is_an_end_that_never_comes() -> None:
    client = ScriptedClient()
    sender = Sender(client.send, "id-1")
    await sender.start(200, [(b"content-type", b"application/json"), (b"content-length", b"100")])
    await sender.body(b"{")
    await sender.fail(ERROR)
    assert [message.get("more_body") for message in client.received] == [None, True]


async def test_where_cors_is_ours_it_goes_with_every_answer() -> None:
    client = ScriptedClient()
    ours = ((b"access-control-allow-origin", b"https://page.example"),)
    sender = Sender(client.send, "id-1", ours)
    assert sender.owns_cors
    await sender.start(200, [(b"kept", b"1")])
    assert client.received[0]["headers"] == [(b"kept", b"1"), *ours, (b"x-nexus-request-id", b"id-1")]
