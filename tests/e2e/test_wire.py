"""Byte equality: what the stand-in received and sent against what the client sent and received. The differences have to
be exactly the documented set (README, "A request's way")."""

import gzip
import json
import time
from pathlib import Path

import pytest

from bench.standin import Standin
from tests import rawhttp
from tests.served import FAKE_UPSTREAM_KEY, Served, eventually, serve

pytestmark = [pytest.mark.e2e, pytest.mark.once]

ODD_BODY = (
    '{ "stream":false,"max_tokens" : 16 ,\n\t"model":"claude-haiku-4-5", "unknown_field":[1.0, 1e2, "\\u00e9é"],'
    '"messages":[{"content":"Hello   \\/ world","role":"user"}],"messages_":null}  \n'
).encode()
KEPT = [
    ("anthropic-version", "2023-06-01"),
    ("anthropic-beta", "claude-code-20250219,interleaved-thinking-2025-05-14"),
    ("anthropic-beta", "a-beta-nobody-knows-2031-01-01"),
    ("anthropic-user-profile-id", "someone"),
    ("accept", "application/json"),
    ("accept-language", "*"),
    ("user-agent", "Anthropic/Python 2.12.0"),
    ("x-stainless-retry-count", "0"),
    ("x-claude-code-session-id", "0b5c0b3a-0000-4000-8000-000000000000"),
    ("x-of-nobody", "kept  with  spaces"),
    ("x-of-nobody", "twice"),
    ("x-utf8", "caf\u00c3\u00a9"),
    ("content-type", "application/json; charset=utf-8"),
]
DROPPED = [
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("connection", "keep-alive, x-named-by-connection"),
    ("keep-alive", "timeout=5"),
    ("te", "trailers"),
    ("x-named-by-connection", "hop"),
    ("proxy-authorization", "Basic ZmFrZQ=="),
    ("cookie", "session=fake"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-proto", "https"),
    ("forwarded", "for=203.0.113.7"),
    ("via", "1.1 balancer"),
    ("x-real-ip", "203.0.113.7"),
    ("cf-connecting-ip", "203.0.113.7"),
    ("true-client-ip", "203.0.113.7"),
    ("cdn-loop", "balancer"),
    ("x-accel-buffering", "no"),
    ("x-nexus-anything", "ours"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("tracestate", "congo=1"),
    ("baggage", "user=grace"),
]


def test_a_request_arrives_as_it_was_sent(nexus: Served, standin: Standin) -> None:
    mixed = [pair for pairs in zip(KEPT, DROPPED, strict=False) for pair in pairs] + DROPPED[len(KEPT) :]
    headers = [("Host", "localhost"), ("X-Api-Key", nexus.key), *mixed]
    rawhttp.request(nexus.port, "POST", "/v1/messages?beta=true&x=%41%2f&ids[]=1", headers, ODD_BODY)
    received = standin.recorder.last
    assert received.method == "POST"
    assert received.target == "/v1/messages?beta=true&x=%41%2f&ids[]=1"
    assert received.body == ODD_BODY
    added = {
        "host": standin.url.removeprefix("http://"),
        "accept-encoding": "identity",
        "x-api-key": FAKE_UPSTREAM_KEY,
        "content-length": str(len(ODD_BODY)),
    }
    others = [(name.lower(), value) for name, value in received.headers if name.lower() not in added]
    assert others == KEPT
    assert {name: value for name, value in received.headers if name.lower() in added} == added


@pytest.mark.parametrize(
    "prompt",
    ["Hello", "[[standin status=429]]", "[[standin status=529]]", "[[standin status=400]]", "[[standin html=1]]"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_arrives_as_it_was_sent(nexus: Served, standin: Standin, prompt: str, stream: bool) -> None:
    body = json.dumps(
        {
            "model": "claude-haiku-4-5",
            "max_tokens": 64,
            "stream": stream,
            "messages": [{"role": "user", "content": prompt}],
        }
    ).encode()
    answer = rawhttp.request(nexus.port, "POST", "/v1/messages", [("x-api-key", nexus.key), *KEPT], body)
    sent = standin.recorder.last
    assert answer.status == sent.status
    assert answer.body == sent.sent
    expected = [(name.lower(), value) for name, value in sent.sent_headers if name.lower() != "transfer-encoding"]
    own = ("x-nexus-request-id", "x-nexus-ratelimit-", "transfer-encoding")
    got = [(name, value) for name, value in answer.headers if not name.startswith(own)]
    assert got == expected
    request_id = answer.header("x-nexus-request-id")
    assert nexus.exchange(request_id)["upstream_request_id"] == answer.header("request-id")
    assert nexus.bodies_of(request_id) == (body, b"" if "html" in prompt else sent.sent)


def test_a_beta_of_ours_is_merged_and_a_bearer_replaces_the_key(nexus: Served, standin: Standin) -> None:
    nexus.run(
        "domain = Domain.objects.create(host='oauth.example.com')\n"
        "Credential.objects.create(domain=domain, name='o', kind='bearer', secret='sk-ant-oat01-fake-of-the-wire-test')"
    )
    key = nexus.nexus("issue-key", "--domain", "oauth.example.com", "--name", "oauth")
    headers = [("host", "oauth.example.com"), ("authorization", f"bearer {key}"), *KEPT]
    eventually(lambda: rawhttp.request(nexus.port, "POST", "/v1/messages", headers, ODD_BODY).status == 200)
    received = standin.recorder.last.headers
    betas = [value for name, value in received if name == "anthropic-beta"]
    assert betas == [KEPT[1][1], f"{KEPT[2][1]},oauth-2025-04-20"]
    assert [value for name, value in received if name == "authorization"] == [
        "Bearer sk-ant-oat01-fake-of-the-wire-test"
    ]
    assert not [value for name, value in received if name == "x-api-key"]


def test_a_callers_own_key_is_used_where_the_domain_allows_it_and_only_there(nexus: Served, standin: Standin) -> None:
    own = "sk-ant-api03-fake-key-of-the-caller-0000"
    nexus.run("Domain.objects.create(host='own.example.com', allow_passthrough=True)")
    key = nexus.nexus("issue-key", "--domain", "own.example.com", "--name", "own")
    headers = [("host", "own.example.com"), ("x-nexus-key", key), ("x-api-key", own), *KEPT]

    def used() -> list[str]:
        rawhttp.request(nexus.port, "POST", "/v1/messages", headers, ODD_BODY)
        return [value for name, value in standin.recorder.last.headers if name == "x-api-key"]

    eventually(lambda: used() == [own])
    nexus.run("Domain.objects.filter(host='own.example.com').update(allow_passthrough=False)")
    eventually(lambda: used() == [FAKE_UPSTREAM_KEY])


def test_it_passes_everything_else_through(nexus: Served, standin: Standin) -> None:
    """Any method, binary and multipart bodies, odd queries."""
    binary = bytes(range(256)) * 4096
    boundary = "a-boundary"
    multipart = (
        (
            f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="a.bin"\r\n'
            "content-type: application/octet-stream\r\n\r\n"
        ).encode()
        + binary
        + f"\r\n--{boundary}--\r\n".encode()
    )
    headers = [
        ("x-api-key", nexus.key),
        ("anthropic-version", "2023-06-01"),
        ("content-type", f"multipart/form-data; boundary={boundary}"),
    ]
    for declare_length in (True, False):
        made = rawhttp.request(nexus.port, "POST", "/v1/files", headers, multipart, declare_length=declare_length)
        assert made.status == 200, made.body
        assert standin.recorder.last.body == multipart
    file_id = json.loads(made.body)["id"]
    plain = headers[:2]
    content = rawhttp.request(nexus.port, "GET", f"/v1/files/{file_id}/content", plain)
    assert content.body == binary
    row = nexus.exchange(content.header("x-nexus-request-id"))
    assert (row["kind"], row["outcome"], row["response_bytes"]) == ("other", "completed", len(binary))
    assert rawhttp.request(nexus.port, "DELETE", f"/v1/files/{file_id}", plain).status == 200
    listed = rawhttp.request(nexus.port, "GET", "/v1/models?limit=2&after_id=", plain)
    assert standin.recorder.last.target == "/v1/models?limit=2&after_id="
    assert listed.body == standin.recorder.last.sent
    assert not [value for name, value in standin.recorder.last.headers if name.lower() == "content-length"]
    missing = rawhttp.request(nexus.port, "GET", "/v1/nothing/here", plain)
    assert (missing.status, json.loads(missing.body)["error"]["type"]) == (404, "not_found_error")


def test_a_large_body_keeps_its_length(nexus: Served, standin: Standin) -> None:
    message = {"role": "user", "content": "x" * 400_000}
    body = json.dumps({"model": "claude-haiku-4-5", "max_tokens": 16, "messages": [message]}).encode()
    assert rawhttp.request(nexus.port, "POST", "/v1/messages", [("x-api-key", nexus.key), *KEPT], body).status == 200
    received = standin.recorder.last
    assert (received.header("content-length"), received.header("transfer-encoding")) == (str(len(body)), None)
    assert received.body == body


def test_a_compressed_body_is_understood_and_passed_on_as_it_came(nexus: Served, standin: Standin) -> None:
    body = gzip.compress(json.dumps(json.loads(ODD_BODY)).encode())
    headers = [("x-api-key", nexus.key), *KEPT, ("content-encoding", "gzip")]
    answer = rawhttp.request(nexus.port, "POST", "/v1/messages", headers, body)
    assert answer.status == 200
    assert standin.recorder.last.body == body
    row = nexus.exchange(answer.header("x-nexus-request-id"))
    assert (row["model"], row["request_bytes"]) == ("claude-haiku-4-5", len(body))


def test_a_page_of_an_allowed_origin_may_call_and_no_other(standin: Standin, tmp_path: Path) -> None:
    page = ("origin", "https://page.example")
    with serve(tmp_path, standin.url, CORS_ALLOWED_ORIGINS="https://page.example") as served:
        asked = ("access-control-request-method", "POST")
        preflight = rawhttp.request(served.port, "OPTIONS", "/v1/messages", [page, asked])
        assert (preflight.status, preflight.header("access-control-max-age")) == (204, "86400")
        headers = [("x-api-key", served.key), *KEPT]
        answer = rawhttp.request(served.port, "POST", "/v1/messages", [page, *headers], ODD_BODY)
        assert answer.header("access-control-allow-origin") == "https://page.example"
        assert standin.recorder.last.header("origin") is None
        stranger = ("origin", "https://other.example")
        answer = rawhttp.request(served.port, "POST", "/v1/messages", [stranger, *headers], ODD_BODY)
        assert answer.header("access-control-allow-origin") == ""
        assert rawhttp.request(served.port, "OPTIONS", "/v1/messages", [stranger, asked]).status == 405


def test_the_doors_that_claude_code_knocks_at_are_answered(nexus: Served) -> None:
    assert rawhttp.request(nexus.port, "HEAD", "/api/hello", []).status == 200
    assert rawhttp.request(nexus.port, "HEAD", "/", []).status == 200
    assert json.loads(rawhttp.request(nexus.port, "GET", "/", []).body)["status"] == "operational"


def test_the_first_event_is_out_before_the_last_is_in(nexus: Served, standin: Standin) -> None:
    with rawhttp.connection(nexus.port) as opened:
        opened.sendall(stream_request(nexus, "[[standin silent_at=2]]"))
        received = b""
        while received.count(b"text_delta") < 2:
            received += opened.recv(65536)
        # The stand-in says nothing more until its client leaves: what came was not waiting for an end.
        assert standin.recorder.stats()["open_streams"] == 1
    eventually(lambda: standin.recorder.stats()["open_streams"] == 0)


def test_a_client_that_leaves_cancels_the_call_within_100_ms(nexus: Served, standin: Standin) -> None:
    with rawhttp.connection(nexus.port) as opened:
        opened.sendall(stream_request(nexus, "[[standin silent_at=2]]", user_agent="leaves in mid-stream"))
        while b"text_delta" not in opened.recv(65536):
            pass
        left_at = time.monotonic()
    heard = eventually(lambda: standin.recorder.last.client_disconnected_at or 0)
    assert heard - left_at < 0.1
    row = nexus.exchange_of("leaves in mid-stream")
    assert (row["outcome"], row["status"], row["usage_source"]) == ("cancelled", 200, "estimated")
    assert row["input_tokens"] > 0
    assert row["output_tokens"] > 0


def test_a_client_that_leaves_before_the_answer_cancels_the_call_too(nexus: Served, standin: Standin) -> None:
    seen = standin.recorder.stats()["requests"]
    with rawhttp.connection(nexus.port) as opened:
        opened.sendall(stream_request(nexus, "[[standin first_byte_ms=30000]]"))
        eventually(lambda: standin.recorder.stats()["requests"] > seen)
        left_at = time.monotonic()
    heard = eventually(lambda: standin.recorder.last.client_disconnected_at or 0)
    assert heard - left_at < 0.1


def test_a_stream_that_dies_ends_in_an_error_event(nexus: Served) -> None:
    body = {"model": "claude-haiku-4-5", "max_tokens": 64, "stream": True}
    body["messages"] = [{"role": "user", "content": "[[standin die_at=3]]"}]
    headers = [("x-api-key", nexus.key), ("anthropic-version", "2023-06-01")]
    answer = rawhttp.request(nexus.port, "POST", "/v1/messages", headers, json.dumps(body).encode())
    assert answer.is_complete
    last = answer.body.rpartition(b"event: error\ndata: ")[2]
    assert json.loads(last)["error"]["type"] == "api_error"
    row = nexus.exchange(answer.header("x-nexus-request-id"))
    assert (row["outcome"], row["usage_source"], row["error_type"]) == ("broken", "estimated", "api_error")


def test_the_record_of_claude_codes_ids_and_of_the_kind(nexus: Served) -> None:
    session = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
    user_id = json.dumps({"device_id": "d", "account_uuid": "", "session_id": session})
    body = {
        "model": "claude-haiku-4-5",
        "max_tokens": 64,
        "system": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}],
        "metadata": {"user_id": user_id},
        "messages": [{"role": "user", "content": "Hello"}],
    }
    headers = [
        ("x-api-key", nexus.key),
        ("anthropic-version", "2023-06-01"),
        ("x-claude-code-agent-id", "agent-7"),
        ("x-claude-code-parent-agent-id", "agent-1"),
    ]
    answer = rawhttp.request(nexus.port, "POST", "/v1/messages", headers, json.dumps(body).encode())
    row = nexus.exchange(answer.header("x-nexus-request-id"))
    assert (row["kind"], row["session_id"]) == ("inference", session)
    assert (row["agent_id"], row["parent_agent_id"]) == ("agent-7", "agent-1")
    usage = json.loads(answer.body)["usage"]
    assert (row["input_tokens"], row["output_tokens"]) == (usage["input_tokens"], usage["output_tokens"])
    assert json.loads(row["usage"]) == usage
    assert (row["usage_source"], row["answered_model"]) == ("final", json.loads(answer.body)["model"])


def stream_request(served: Served, prompt: str, user_agent: str = "raw") -> bytes:
    body = {"model": "claude-haiku-4-5", "max_tokens": 64, "stream": True}
    body["messages"] = [{"role": "user", "content": prompt}]
    content = json.dumps(body).encode()
    headers = [("x-api-key", served.key), ("anthropic-version", "2023-06-01"), ("user-agent", user_agent)]
    return rawhttp.head("POST", "/v1/messages", headers, len(content)) + content
