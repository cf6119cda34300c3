"""What should not be sent, and what an upstream should not do: each ends in a clear answer and a row of the record."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.served import Served, serve
from tests.services import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.once]

HELLO = {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
UNKNOWN_KEY = "nxs_live_" + "A" * 43


def post(served: Served, body: bytes, key: str = "", **more: str) -> rawhttp.Answer:
    headers = [
        ("x-api-key", key or served.key),
        ("content-type", "application/json"),
        ("anthropic-version", "2023-06-01"),
        *((name.replace("_", "-"), value) for name, value in more.items()),
    ]
    return rawhttp.request(served.port, "POST", "/v1/messages", headers, body)


def hello(**changes: Any) -> bytes:
    return json.dumps(HELLO | changes).encode()


def said(prompt: str, *, stream: bool = False) -> bytes:
    return hello(messages=[{"role": "user", "content": prompt}], stream=stream)


def assert_error(answer: rawhttp.Answer, status: int, error_type: str, *words: str) -> dict[str, Any]:
    """The API's envelope, our id in it and in both headers, and a sentence with these words."""
    assert answer.status == status, answer.body
    assert answer.header("content-type") == "application/json"
    content: dict[str, Any] = json.loads(answer.body)
    assert content["type"] == "error"
    assert content["error"]["type"] == error_type
    for word in words:
        assert word in content["error"]["message"]
    assert answer.header("x-should-retry") == ("true" if status in (502, 504) else "false")
    request_id = answer.header("x-nexus-request-id")
    assert request_id
    assert content["request_id"] == answer.header("request-id") == request_id
    return content


def assert_recorded(served: Served, answer: rawhttp.Answer, outcome: str, status: int) -> dict[str, Any]:
    row = served.exchange(answer.header("x-nexus-request-id"))
    assert (row["outcome"], row["status"]) == (outcome, status)
    return row


def test_it_refuses_a_call_without_a_key(nexus: Served) -> None:
    answer = rawhttp.request(nexus.port, "POST", "/v1/messages", [("content-type", "application/json")], hello())
    assert_error(answer, 401, "authentication_error", "x-api-key")
    assert_recorded(nexus, answer, "refused", 401)


def test_it_refuses_an_unknown_key(nexus: Served) -> None:
    answer = post(nexus, hello(), key=UNKNOWN_KEY)
    assert_error(answer, 401, "authentication_error", "not known")
    assert assert_recorded(nexus, answer, "refused", 401)["client_key_id"] is None


def test_it_refuses_anthropics_key_in_place_of_its_own(nexus: Served) -> None:
    answer = post(nexus, hello(), key="sk-ant-api03-fake-0000000000")
    assert_error(answer, 401, "authentication_error", "nxs_live_")


def test_it_refuses_a_revoked_key_within_two_seconds(nexus: Served) -> None:
    key = nexus.nexus("issue-key", "--domain", "localhost", "--name", "to be revoked")
    deadline = time.monotonic() + 5
    while post(nexus, hello(), key=key).status != 200:
        assert time.monotonic() < deadline, "the new key was never taken"
    nexus.run("ClientKey.objects.get(name='to be revoked').revoke()")
    revoked_at = time.monotonic()
    while (answer := post(nexus, hello(), key=key)).status == 200:
        assert time.monotonic() < revoked_at + 2, "the revoked key was still taken after two seconds"
    assert_error(answer, 401, "authentication_error", "revoked")
    assert assert_recorded(nexus, answer, "refused", 401)["client_key_id"] is not None


def test_it_refuses_a_key_on_the_host_of_another_domain(nexus: Served) -> None:
    nexus.run("Domain.objects.create(host='other.example.com')")
    deadline = time.monotonic() + 5
    while (answer := post(nexus, hello(), host="other.example.com:8443")).status == 200:
        assert time.monotonic() < deadline, "the new domain never became known"
    assert_error(answer, 403, "permission_error", "other.example.com", "localhost")
    assert post(nexus, hello(), host="unregistered.example.com").status == 200


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"this is not JSON", "JSON"),
        (b"", "JSON"),
        (b'{"model": "claude-haiku-4-5", "messages": [', "JSON"),
        (b"[1, 2]", "object"),
        (b'"text"', "object"),
        (b'{"model": 7, "messages": []}', "model"),
        (b'{"messages": []}', "model"),
        (b'{"model": "claude-haiku-4-5"}', "messages"),
        (b'{"model": "claude-haiku-4-5", "messages": "hello"}', "messages"),
        (b'{"model": "claude-haiku-4-5", "messages": ' + b"[" * 100_000, "JSON"),
        (b"\xff\xfe\x00", "JSON"),
    ],
)
def test_it_refuses_a_body_that_is_no_messages_request(nexus: Served, body: bytes, word: str) -> None:
    answer = post(nexus, body)
    assert_error(answer, 400, "invalid_request_error", word)
    assert_recorded(nexus, answer, "refused", 400)


@pytest.mark.parametrize("declare_length", [True, False])
def test_it_refuses_a_body_of_33_megabytes(nexus: Served, declare_length: bool) -> None:
    body = hello(messages=[{"role": "user", "content": "x" * 33_000_000}])
    headers = [("x-api-key", nexus.key), ("content-type", "application/json")]
    answer = rawhttp.request(nexus.port, "POST", "/v1/messages", headers, body, declare_length=declare_length)
    assert_error(answer, 413, "request_too_large", "32,000,000")
    assert_recorded(nexus, answer, "refused", 413)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_refuses_another_method(nexus: Served, method: str) -> None:
    answer = rawhttp.request(nexus.port, method, "/v1/messages", [("x-api-key", nexus.key)])
    assert_error(answer, 405, "invalid_request_error", "POST")
    assert answer.header("allow") == "POST"


def test_it_refuses_what_is_not_the_api(nexus: Served) -> None:
    answer = rawhttp.request(nexus.port, "POST", "/v1", [("x-api-key", nexus.key)], b"{}")
    assert_error(answer, 404, "not_found_error", "/v1/messages")


@pytest.mark.parametrize(
    "line", ["x-injected: a\rx-api-key: b", "x-injected: a\x00b", "x injected: a", ": nameless", "x-folded: a\n b\rc"]
)
def test_it_lets_no_header_be_smuggled_in(nexus: Served, standin: Standin, line: str) -> None:
    """A header with a line break or a control character in it gets no further than our door."""
    seen = standin.recorder.stats()["requests"]
    raw = (
        f"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: {nexus.key}\r\n{line}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(hello())}\r\n\r\n"
    ).encode("latin-1") + hello()
    with rawhttp.connection(nexus.port) as opened:
        opened.sendall(raw)
        status = opened.makefile("rb").readline()
    assert status.split()[1] == b"400"
    assert standin.recorder.stats()["requests"] == seen


def test_it_lets_no_request_be_smuggled_in(nexus: Served, standin: Standin) -> None:
    """Two lengths for one body: whoever disagrees about where it ends reads a second request in it."""
    seen = standin.recorder.stats()["requests"]
    raw = (
        f"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: {nexus.key}\r\n"
        "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"
    ).encode()
    with rawhttp.connection(nexus.port) as opened:
        opened.sendall(raw)
        status = opened.makefile("rb").readline()
    assert status.split()[1] == b"400"
    assert standin.recorder.stats()["requests"] == seen


@pytest.mark.parametrize("token", ["h2c", "websocket", "TLS/1.0"])
def test_an_upgrade_smuggles_no_request_in(nexus: Served, standin: Standin, token: str) -> None:
    """The parser skips the body of a request that asks for an upgrade: it must not run as the next request."""
    seen = standin.recorder.stats()["requests"]
    smuggled = f"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx-api-key: {nexus.key}\r\n\r\n".encode()
    headers = [("x-api-key", nexus.key), ("connection", "Upgrade"), ("upgrade", token)]
    with rawhttp.connection(nexus.port) as opened:
        opened.sendall(rawhttp.head("POST", "/v1/messages", headers, len(smuggled)) + smuggled)
        received = b"".join(iter(lambda: opened.recv(65536), b""))
    assert received.count(b"HTTP/1.1 ") == 1
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b'"invalid_request_error"' in received
    assert standin.recorder.stats()["requests"] == seen


def test_an_endless_head_is_cut(nexus: Served) -> None:
    with rawhttp.connection(nexus.port) as opened, contextlib.suppress(ConnectionError):
        opened.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-flood: ")
        for _ in range(64):
            opened.sendall(b"x" * 65536)
        pytest.fail("4 MB of a head were taken")


def test_an_unknown_caller_fills_no_disk(nexus: Served) -> None:
    answer = rawhttp.request(nexus.port, "POST", "/v1/messages", [("x-flood", "x" * 30_000)], hello())
    request_id = assert_recorded(nexus, answer, "refused", 401)["id"]
    assert not [row for row in nexus.rows("telemetry_body") if row["exchange_id"] == request_id]


def test_what_is_sent_to_get_a_token_is_not_kept(nexus: Served) -> None:
    headers = [("x-api-key", nexus.key), ("content-type", "application/json")]
    answer = rawhttp.request(nexus.port, "POST", "/v1/oauth/token", headers, b'{"refresh_token": "fake"}')
    request_id = nexus.exchange(answer.header("x-nexus-request-id"))["id"]
    assert not [row for row in nexus.rows("telemetry_body") if row["exchange_id"] == request_id]


def test_a_path_of_two_readings_goes_nowhere(nexus: Served, standin: Standin) -> None:
    seen = standin.recorder.stats()["requests"]
    answer = rawhttp.request(nexus.port, "POST", "/v1/x/../messages", [("x-api-key", nexus.key)], hello())
    assert_error(answer, 400, "invalid_request_error", "path")
    assert standin.recorder.stats()["requests"] == seen


def test_a_header_that_is_no_utf8_is_refused(nexus: Served) -> None:
    answer = post(nexus, hello(), x_latin="caf\xe9")
    assert_error(answer, 400, "invalid_request_error", "header")


def test_it_passes_an_html_answer_on_as_it_came(nexus: Served) -> None:
    answer = post(nexus, said("[[standin html=1]]"))
    assert answer.status == 502
    assert answer.header("content-type").startswith("text/html")
    assert answer.body.lstrip().lower().startswith((b"<!doctype html", b"<html"))
    assert_recorded(nexus, answer, "api_error", 502)


def test_it_does_not_follow_a_redirect(nexus: Served) -> None:
    answer = post(nexus, said("[[standin redirect=1]]"))
    assert answer.status == 307
    assert answer.header("location")


# --- With little patience ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def impatient(standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(
        tmp_path_factory.mktemp("impatient"),
        standin.url,
        CLAUDE_API_TIMEOUT="400",
        UPSTREAM_IDLE_SECONDS="0.4",
        BODY_IDLE_SECONDS="0.4",
        HEAD_SECONDS="0.4",
        CLIENT_STALL_SECONDS="0.4",
    ) as served:
        yield served


@pytest.mark.parametrize("sent", [b"", b'{"model": "claude-hai'])
def test_it_gives_up_on_half_a_body(impatient: Served, sent: bytes) -> None:
    with rawhttp.connection(impatient.port) as opened:
        opened.sendall(rawhttp.head("POST", "/v1/messages", [("x-api-key", impatient.key)], 1000) + sent)
        answer = rawhttp.read_answer(opened)
    assert_error(answer, 408, "invalid_request_error", "0.4 seconds")
    assert_recorded(impatient, answer, "refused", 408)


@pytest.mark.parametrize("path", ["/admin/login/", "/dashboard/login", "/api/requests"])
def test_pages_wait_for_no_body_for_ever(impatient: Served, path: str) -> None:
    with rawhttp.connection(impatient.port) as opened:
        opened.sendall(rawhttp.head("POST", path, [], 1000) + b"username=a")
        answer = rawhttp.read_answer(opened)
        assert opened.recv(100) == b""
    assert (answer.status, b"0.4 seconds" in answer.body) == (408, True)


@pytest.mark.parametrize("is_declared", [True, False])
def test_pages_take_no_body_of_any_size(nexus: Served, is_declared: bool) -> None:
    """Nor write it to the disk first."""
    with rawhttp.connection(nexus.port) as opened:
        opened.sendall(rawhttp.head("POST", "/admin/login/", [], 10_000_000_000 if is_declared else None))
        piece = b"x" * 100_000 if is_declared else rawhttp.chunked(b"x" * 100_000).removesuffix(b"0\r\n\r\n")
        for _ in range(51):
            opened.sendall(piece)
        answer = rawhttp.read_answer(opened)
    assert (answer.status, b"larger than 5,000,000 bytes" in answer.body) == (413, True)


def test_it_records_a_client_that_leaves_in_its_body(nexus: Served) -> None:
    headers = [("x-api-key", nexus.key), ("user-agent", "leaves in its body")]
    with rawhttp.connection(nexus.port) as opened:
        opened.sendall(rawhttp.head("POST", "/v1/messages", headers, 1000) + b'{"model"')
    row = nexus.exchange_of("leaves in its body")
    assert (row["outcome"], row["status"]) == ("cancelled", None)


@pytest.mark.parametrize("sent", [b"", b"POST /v1/messages HTTP/1.1\r\nhost: loc"])
def test_it_waits_for_no_head_for_ever(impatient: Served, sent: bytes) -> None:
    with rawhttp.connection(impatient.port) as opened:
        opened.sendall(sent)
        assert opened.recv(100) == b""


def test_a_head_that_comes_byte_by_byte_has_no_longer(impatient: Served) -> None:
    head = rawhttp.head("POST", "/v1/messages", [("x-api-key", impatient.key)], 0)
    with rawhttp.connection(impatient.port) as opened:
        opened.settimeout(0.05)
        for position in range(len(head) - 1):
            opened.sendall(head[position : position + 1])
            try:
                assert opened.recv(100) == b""
            except TimeoutError:
                continue
            return
    pytest.fail("it waited for the whole head")


def test_a_client_that_takes_nothing_does_not_hold_the_call(impatient: Served, standin: Standin) -> None:
    body = said("[[standin bytes=30000000]]", stream=True)
    headers = [("x-api-key", impatient.key), ("anthropic-version", "2023-06-01"), ("user-agent", "takes nothing")]
    with rawhttp.connection(impatient.port) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.sendall(rawhttp.head("POST", "/v1/messages", headers, len(body)) + body)
        row = impatient.exchange_of("takes nothing")
    assert (row["outcome"], row["status"]) == ("cancelled", 200)


def test_a_slow_upload_is_not_cut_while_it_goes_on(impatient: Served) -> None:
    """It takes longer in all than the limit for the first byte."""
    headers = [("x-api-key", impatient.key), ("anthropic-version", "2023-06-01")]
    with rawhttp.connection(impatient.port) as opened:
        opened.sendall(rawhttp.head("POST", "/v1/files", headers, 80))
        for _ in range(8):
            opened.sendall(b"x" * 10)
            time.sleep(0.1)
        assert rawhttp.read_answer(opened).status == 400


def test_it_gives_up_on_a_slow_first_byte(impatient: Served) -> None:
    answer = post(impatient, said("[[standin first_byte_ms=30000]]"))
    assert_error(answer, 504, "api_error", "0.4 seconds")
    assert_recorded(impatient, answer, "upstream_failed", 504)


def test_it_ends_a_silent_stream_with_an_error_event(impatient: Served) -> None:
    answer = post(impatient, said("[[standin silent_at=3]]", stream=True))
    assert answer.status == 200
    assert answer.is_complete
    *_, last = answer.body.strip().split(b"\n\n")
    assert last.strip().startswith(b"event: error\ndata: ")
    error = json.loads(last.strip().partition(b"data: ")[2])
    assert error["error"]["type"] == "api_error"
    assert "silent" in error["error"]["message"]
    assert_recorded(impatient, answer, "broken", 200)


def test_a_stream_that_lives_is_not_cut(impatient: Served) -> None:
    """Longer than any of the limits in all, with no pause as long as one."""
    answer = post(impatient, said("[[standin deltas=12 delay_ms=100]]", stream=True))
    assert answer.is_complete
    assert answer.body.rstrip().endswith(b"}")
    assert b"message_stop" in answer.body
    assert_recorded(impatient, answer, "completed", 200)


def test_it_says_when_the_upstream_cannot_be_reached(tmp_path: Path) -> None:
    with serve(tmp_path, f"http://127.0.0.1:{free_port()}") as served:
        answer = post(served, hello())
        assert_error(answer, 502, "api_error", "cannot be reached")
        assert_recorded(served, answer, "upstream_failed", 502)


def test_it_says_when_the_upstream_hangs_up_before_it_answers(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        serve(tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}") as served,
    ):
        with rawhttp.connection(served.port) as opened:
            opened.sendall(rawhttp.head("POST", "/v1/messages", [("x-api-key", served.key)], len(hello())) + hello())
            listener.accept()[0].close()
            answer = rawhttp.read_answer(opened)
        assert_error(answer, 502, "api_error", "broke")
        assert_recorded(served, answer, "upstream_failed", 502)
