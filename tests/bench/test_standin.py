"""The stand-in, as the official SDK and a plain HTTP client see it."""

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic

from bench.standin import Standin, serve_in_thread

KEY = "sk-ant-api03-fake-standin"
MODEL = "claude-haiku-4-5"
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer", "minimum": 2},
            "note": {"type": "string"},
        },
        "required": ["city", "unit", "days"],
    },
}


@pytest.fixture(scope="module")
def served() -> Iterator[Standin]:
    with serve_in_thread() as standin:
        yield standin


@pytest.fixture
def standin(served: Standin) -> Standin:
    served.reset()
    return served


@pytest.fixture
def claude(standin: Standin) -> Iterator[Anthropic]:
    with Anthropic(base_url=standin.url, api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def http(standin: Standin) -> Iterator[httpx.Client]:
    headers = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
    with httpx.Client(base_url=standin.url, headers=headers) as client:
        yield client


def asking(text: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 1024, "messages": [{"role": "user", "content": text}]} | more


class TestMessages:
    def test_it_answers(self, claude: Anthropic) -> None:
        message = claude.messages.create(**asking("hello"))
        assert message.model == "claude-haiku-4-5-20251001"
        assert message.stop_reason == "end_turn"
        assert message.content[0].type == "text"
        assert message.usage.input_tokens == 2
        assert message._request_id is not None
        assert message._request_id.startswith("req_")

    def test_it_says_the_same_again(self, claude: Anthropic) -> None:
        assert claude.messages.create(**asking("a")).content == claude.messages.create(**asking("a")).content

    def test_a_stream_adds_up_to_the_whole_answer(self, claude: Anthropic) -> None:
        whole = claude.messages.create(**asking("hello"))
        with claude.messages.stream(**asking("hello")) as stream:
            streamed = stream.get_final_message()
        assert streamed.to_dict(exclude_unset=True) | {"id": whole.id} == whole.to_dict(exclude_unset=True)

    def test_max_tokens_cut_it_short(self, claude: Anthropic) -> None:
        message = claude.messages.create(**asking("hello", max_tokens=3))
        assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 3)

    def test_it_thinks_when_asked(self, claude: Anthropic) -> None:
        body = asking("hello", thinking={"type": "enabled", "budget_tokens": 1024})
        with claude.messages.stream(**body) as stream:
            thinking, text = stream.get_final_message().content
        assert (thinking.type, text.type) == ("thinking", "text")
        assert thinking.type == "thinking"
        assert thinking.thinking
        assert thinking.signature

    def test_it_calls_the_only_tool_and_answers_its_result(self, claude: Anthropic) -> None:
        with claude.messages.stream(**asking("weather?", tools=[WEATHER])) as stream:
            message = stream.get_final_message()
        call = message.content[-1]
        assert message.stop_reason == "tool_use"
        assert call.type == "tool_use"
        assert call.input == {"city": "example city", "unit": "celsius", "days": 2}
        result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
        body = asking("weather?", tools=[WEATHER])
        body["messages"] += [
            {"role": "assistant", "content": message.content},
            {"role": "user", "content": [result]},
        ]
        assert claude.messages.create(**body).stop_reason == "end_turn"

    def test_among_many_tools_it_calls_none_unasked(self, claude: Anthropic) -> None:
        tools = [WEATHER, WEATHER | {"name": "get_tides"}]
        assert claude.messages.create(**asking("hello", tools=tools)).stop_reason == "end_turn"
        message = claude.messages.create(**asking("hello [[standin tool=get_tides]]", tools=tools))
        assert message.to_dict()["content"][-1]["name"] == "get_tides"
        forced = claude.messages.create(**asking("hello", tools=tools, tool_choice={"type": "any"}))
        assert forced.stop_reason == "tool_use"

    def test_a_cached_prefix_is_written_then_read(self, claude: Anthropic) -> None:
        system = [{"type": "text", "text": "x" * 400, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
        first = claude.messages.create(**asking("hello", system=system)).usage
        assert first.cache_creation is not None
        assert first.cache_creation.ephemeral_1h_input_tokens == first.cache_creation_input_tokens == 100
        second = claude.messages.create(**asking("hello", system=system)).usage
        assert (second.cache_read_input_tokens, second.cache_creation_input_tokens) == (100, 0)
        assert second.input_tokens == 2

    def test_it_counts_tokens(self, claude: Anthropic) -> None:
        counted = claude.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "x" * 40}])
        assert counted.input_tokens == 10

    def test_a_stream_looks_like_the_real_wire(self, http: httpx.Client, standin: Standin) -> None:
        response = http.post("/v1/messages", json=asking("hello [[standin deltas=30]]", stream=True))
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["transfer-encoding"] == "chunked"
        assert response.headers["server"] == "cloudflare"
        assert "anthropic-ratelimit-requests-remaining" in response.headers
        frames = response.text.removesuffix("\n\n").split("\n\n")
        names = [frame.split("\n")[0].removeprefix("event: ") for frame in frames]
        assert names[:3] == ["message_start", "content_block_start", "ping"]
        assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
        assert names.count("content_block_delta") == 30
        assert any("  }" in frame for frame in frames)
        assert bytes(standin.recorder.last.sent) == response.content


class TestOtherEndpoints:
    def test_models(self, claude: Anthropic) -> None:
        assert [model.id for model in claude.models.list(limit=2)][:2] == ["claude-opus-4-8", "claude-sonnet-4-6"]
        assert len(list(claude.models.list(limit=2))) == 6
        assert claude.models.retrieve("claude-haiku-4-5").id == "claude-haiku-4-5-20251001"
        with pytest.raises(anthropic.NotFoundError):
            claude.models.retrieve("claude-nope-1")

    def test_batches(self, claude: Anthropic) -> None:
        params: Any = asking("hello")
        batch = claude.messages.batches.create(requests=[{"custom_id": "one", "params": params}])
        assert batch.processing_status == "in_progress"
        assert claude.messages.batches.retrieve(batch.id).processing_status == "ended"
        (line,) = claude.messages.batches.results(batch.id)
        assert line.custom_id == "one"
        assert line.result.type == "succeeded"
        assert line.result.message.usage.service_tier == "batch"
        assert [each.id for each in claude.messages.batches.list()] == [batch.id]
        assert claude.messages.batches.delete(batch.id).type == "message_batch_deleted"

    def test_a_batch_can_be_cancelled(self, claude: Anthropic) -> None:
        params: Any = asking("hello")
        batch = claude.messages.batches.create(requests=[{"custom_id": "one", "params": params}])
        assert claude.messages.batches.cancel(batch.id).processing_status == "canceling"
        assert claude.messages.batches.retrieve(batch.id).request_counts.canceled == 1

    def test_requests_of_a_batch_end_as_they_are_told_to(self, claude: Anthropic) -> None:
        prompts = ("hello", "[[standin status=400]]", "[[standin result=expired]]", "[[standin result=canceled]]")
        requests: Any = [{"custom_id": f"r{number}", "params": asking(text)} for number, text in enumerate(prompts)]
        batch = claude.messages.batches.create(requests=requests)
        assert batch.request_counts.processing == 4
        counts = claude.messages.batches.retrieve(batch.id).request_counts
        assert (counts.succeeded, counts.errored, counts.expired, counts.canceled) == (1, 1, 1, 1)
        lines = {line.custom_id: line.result for line in claude.messages.batches.results(batch.id)}
        assert [lines[f"r{number}"].type for number in range(4)] == ["succeeded", "errored", "expired", "canceled"]
        errored = lines["r1"]
        assert errored.type == "errored"
        assert errored.error.error.type == "invalid_request_error"

    def test_files_come_back_byte_by_byte(self, claude: Anthropic) -> None:
        content = bytes(range(256)) * 8 + b"\r\n--\r\n"
        file = claude.beta.files.upload(file=("sea.bin", content, "application/octet-stream"))
        assert (file.filename, file.size_bytes) == ("sea.bin", len(content))
        assert claude.beta.files.download(file.id).read() == content
        assert [each.id for each in claude.beta.files.list()] == [file.id]
        claude.beta.files.delete(file.id)
        with pytest.raises(anthropic.NotFoundError):
            claude.beta.files.retrieve_metadata(file.id)

    @pytest.mark.parametrize("path", ["/", "/api/hello"])
    def test_probes_need_no_key(self, standin: Standin, path: str) -> None:
        assert httpx.head(standin.url + path).status_code == 200

    def test_an_unknown_path_is_not_found(self, http: httpx.Client) -> None:
        response = http.get("/v1/nothing")
        assert response.status_code == 404
        assert response.json()["error"]["type"] == "not_found_error"
        assert response.json()["request_id"] == response.headers["request-id"]
        assert int(response.headers["content-length"]) == len(response.content)


class TestRefusals:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"x-api-key": "nexus-key"},
            {"x-api-key": "sk-ant-api03-revoked"},
            {"authorization": "Bearer sk-ant-oat01-fake"},
            {"authorization": "Bearer nexus-key"},
        ],
    )
    def test_it_refuses_bad_credentials(self, standin: Standin, headers: dict[str, str]) -> None:
        response = httpx.get(f"{standin.url}/v1/models", headers=headers | {"anthropic-version": "2023-06-01"})
        assert response.status_code == 401
        assert response.json()["error"]["type"] == "authentication_error"
        assert "anthropic-organization-id" not in response.headers

    def test_a_bearer_token_needs_the_oauth_beta(self, standin: Standin) -> None:
        beta = {"anthropic-beta": "files-api-2025-04-14,oauth-2025-04-20"}
        with Anthropic(
            base_url=standin.url, auth_token="sk-ant-oat01-fake", api_key=None, default_headers=beta
        ) as claude:
            response = claude.messages.with_raw_response.create(**asking("hello"))
        assert response.headers["anthropic-ratelimit-unified-status"] == "allowed"

    @pytest.mark.parametrize("headers", [{"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}])
    def test_a_key_may_come_in_either_header(self, standin: Standin, headers: dict[str, str]) -> None:
        response = httpx.get(f"{standin.url}/v1/models", headers=headers | {"anthropic-version": "2023-06-01"})
        assert response.status_code == 200

    @pytest.mark.parametrize("version", [{}, {"anthropic-version": "1999-01-01"}])
    def test_it_asks_for_the_version(self, standin: Standin, version: dict[str, str]) -> None:
        response = httpx.get(f"{standin.url}/v1/models", headers={"x-api-key": KEY} | version)
        assert response.status_code == 400

    def test_the_new_version_takes_no_temperature(self, http: httpx.Client) -> None:
        body = asking("hello", temperature=1)
        assert http.post("/v1/messages", json=body).status_code == 200
        new = {"anthropic-version": "2026-10-21"}
        assert http.post("/v1/messages", json=body, headers=new).status_code == 400

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            ({"messages": []}, 400),
            ({"messages": "hello"}, 400),
            ({"messages": [{"role": "user", "content": [1]}]}, 400),
            ({"messages": [{"content": "hello"}]}, 400),
            ({"max_tokens": "many"}, 400),
            ({"model": "claude-nope-9"}, 404),
            ({"model": "gpt-4"}, 404),
        ],
    )
    def test_it_checks_the_body(self, http: httpx.Client, change: dict[str, Any], status: int) -> None:
        assert http.post("/v1/messages", json=asking("hello") | change).status_code == status

    def test_a_compressed_body_is_read_and_kept_as_it_came(self, http: httpx.Client, standin: Standin) -> None:
        packed = gzip.compress(json.dumps(asking("hello")).encode())
        response = http.post("/v1/messages", content=packed, headers={"content-encoding": "gzip"})
        assert response.status_code == 200
        assert standin.recorder.last.body == packed
        refused = http.post("/v1/messages", content=b"{}", headers={"content-encoding": "gzip"})
        assert refused.status_code == 400

    def test_it_wants_json(self, http: httpx.Client) -> None:
        assert http.post("/v1/messages", content=b"{").status_code == 400

    def test_it_names_a_directive_it_does_not_know(self, http: httpx.Client) -> None:
        response = http.post("/v1/messages", json=asking("[[standin colour=red]]"))
        assert response.status_code == 400
        assert "colour=red" in response.json()["error"]["message"]


class TestTrouble:
    def test_the_sdk_retries_an_overload_away(self, standin: Standin) -> None:
        with Anthropic(base_url=standin.url, api_key=KEY, max_retries=2) as claude:
            message = claude.messages.create(**asking("[[standin status=529 times=2 retry_after_ms=1]]"))
        assert message.stop_reason == "end_turn"
        assert [each.status for each in standin.recorder.exchanges] == [529, 529, 200]

    def test_an_error_without_times_lasts(self, claude: Anthropic) -> None:
        for _ in range(2):
            with pytest.raises(anthropic.OverloadedError):
                claude.messages.create(**asking("[[standin status=529]]"))

    def test_a_rate_limit_says_when_to_come_back(self, http: httpx.Client) -> None:
        response = http.post("/v1/messages", json=asking("[[standin status=429 retry_after=7]]"))
        assert response.status_code == 429
        assert response.headers["retry-after"] == "7"
        assert response.headers["x-should-retry"] == "true"
        assert response.headers["anthropic-ratelimit-unified-status"] == "rejected"
        assert response.headers["anthropic-ratelimit-requests-remaining"] == "0"

    def test_the_header_wins_over_the_prompt(self, http: httpx.Client) -> None:
        body = asking("[[standin status=500]]")
        response = http.post("/v1/messages", json=body, headers={"x-standin": "status=402; times=1"})
        assert response.status_code == 402

    def test_trouble_can_be_for_one_credential(self, http: httpx.Client) -> None:
        body = asking("[[standin status=529 credential=other]]")
        assert http.post("/v1/messages", json=body).status_code == 200
        other = {"x-api-key": "sk-ant-api03-fake-other"}
        assert http.post("/v1/messages", json=body, headers=other).status_code == 529

    def test_directives_before_a_tool_result_are_over(self, http: httpx.Client) -> None:
        body = asking("[[standin status=500]]")
        body["messages"].append(
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]}
        )
        assert http.post("/v1/messages", json=body).status_code == 200

    def test_an_error_comes_mid_stream(self, claude: Anthropic, standin: Standin) -> None:
        with (
            pytest.raises(anthropic.APIStatusError, match="Overloaded"),
            claude.messages.stream(**asking("[[standin error_at=3]]")) as stream,
        ):
            stream.until_done()
        sent = standin.recorder.last.sent
        assert sent.count(b"event: content_block_delta") == 3
        assert b"message_stop" not in sent

    def test_a_stream_dies(self, claude: Anthropic, standin: Standin) -> None:
        texts = []
        with (
            pytest.raises(Exception, match="incomplete chunked read"),
            claude.messages.stream(**asking("[[standin die_at=3]]")) as stream,
        ):
            texts += list(stream.text_stream)
        died = standin.recorder.wait_for(lambda each: each.ended)
        assert died.sent.count(b"content_block_delta") == 6  # each event says its name twice
        assert died.cut
        assert not died.finished
        assert not died.disconnected

    def test_it_dies_before_the_head(self, http: httpx.Client, standin: Standin) -> None:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            http.post("/v1/messages", json=asking("[[standin die_at=-1]]"))
        assert standin.recorder.wait_for(lambda each: each.ended).status == 0

    def test_a_whole_answer_dies_in_its_middle(self, http: httpx.Client) -> None:
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            http.post("/v1/messages", json=asking("[[standin die_at=0]]"))

    def test_it_falls_silent_until_the_client_leaves(self, http: httpx.Client, standin: Standin) -> None:
        body = asking("[[standin silent_at=2]]", stream=True)
        with http.stream("POST", "/v1/messages", json=body) as response:
            chunks, seen = response.iter_raw(), b""
            while seen.count(b"event: content_block_delta") < 2:
                seen += next(chunks)
            assert http.get("/_standin/stats").json()["open_streams"] == 1
            assert not standin.recorder.last.ended
        left = standin.recorder.wait_for(lambda each: each.disconnected)
        assert left.client_disconnected_at is not None
        assert bytes(left.sent) == seen

    def test_a_load_balancer_answers_instead(self, http: httpx.Client) -> None:
        response = http.post("/v1/messages", json=asking("[[standin html=1]]"))
        assert (response.status_code, response.headers["content-type"]) == (502, "text/html")
        assert "request-id" not in response.headers

    def test_a_redirect(self, http: httpx.Client) -> None:
        response = http.post("/v1/messages", json=asking("[[standin redirect=1]]"))
        assert (response.status_code, response.headers["location"]) == (307, "/v1/messages?redirected=1")
        followed = http.post("/v1/messages", json=asking("[[standin redirect=1]]"), follow_redirects=True)
        assert followed.status_code == 200

    def test_gzip(self, http: httpx.Client, standin: Standin) -> None:
        response = http.post("/v1/messages", json=asking("[[standin gzip=1]]"))
        assert response.headers["content-encoding"] == "gzip"
        assert response.json()["type"] == "message"
        assert standin.recorder.last.sent.startswith(b"\x1f\x8b")
        plain = http.post("/v1/messages", json=asking("[[standin gzip=1]]"), headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers

    def test_the_size_can_be_set(self, claude: Anthropic) -> None:
        message = claude.messages.create(**asking("[[standin bytes=5000]]"))
        assert message.content[0].type == "text"
        assert len(message.content[0].text) == 5000


class TestRecord:
    def test_it_keeps_every_byte(self, http: httpx.Client, standin: Standin) -> None:
        body = b' { "model" : "claude-x","max_tokens":9,"messages":[{"role":"user","content":"\\u00e9 \xc3\xa9"}]}'
        response = http.post("/v1/messages?beta=true&x=%20", content=body, headers=[("x-a", "1"), ("x-a", "2")])
        kept = standin.recorder.last
        assert (kept.method, kept.target, kept.status) == ("POST", "/v1/messages?beta=true&x=%20", 200)
        assert kept.body == body
        assert [value for name, value in kept.headers if name == "x-a"] == ["1", "2"]
        assert kept.header("X-Api-Key") == KEY
        assert bytes(kept.sent) == response.content
        assert ("request-id", response.headers["request-id"]) in kept.sent_headers
        assert kept.finished

    def test_it_can_be_read_over_http(self, http: httpx.Client, standin: Standin) -> None:
        http.get("/v1/models")
        http.get("/v1/models/claude-x")
        assert [each["number"] for each in http.get("/_standin/exchanges").json()] == [1, 2]
        (second,) = http.get("/_standin/exchanges?after=1").json()
        assert second["target"] == "/v1/models/claude-x"
        assert http.get("/_standin/stats").json()["by_status"] == {"200": 2}
        assert http.post("/_standin/reset").json() == {}
        assert http.get("/_standin/exchanges").json() == []

    def test_it_can_be_off(self) -> None:
        with serve_in_thread(Standin(record=False)) as standin:
            httpx.get(f"{standin.url}/v1/models")
            assert standin.recorder.exchanges == []
            assert standin.recorder.stats()["requests"] == 1


class TestProcess:
    def test_it_says_where_it_listens_and_stops_when_told(self) -> None:
        command = [sys.executable, "-m", "bench.standin", "--port", "0", "--fast"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            url = process.stdout.readline().removeprefix("listening on ").strip()
            whole = httpx.post(url, content=b"{}").json()
            streamed = httpx.post(url, content=json.dumps({"stream": True}).encode()).text
            process.terminate()
            assert process.wait(timeout=10) == 0
        assert whole["type"] == "message"
        assert streamed.count("event: content_block_delta") == 50
