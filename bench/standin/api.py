"""The endpoints: what the Claude API would answer to an authenticated call."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.asgi import Json
from bench.standin import catalogue, prompt, streams, versions
from bench.standin.answers import Answer, compose
from bench.standin.batches import Batches
from bench.standin.caller import Caller
from bench.standin.errors import ApiError
from bench.standin.files import Files
from bench.standin.heads import encode
from bench.standin.ids import Ids
from bench.standin.pages import page
from bench.standin.replies import Reply, Stream, json_reply
from bench.standin.script import Script
from bench.standin.usage import PromptCache

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Call:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    caller: Caller
    script: Script


class Api:
    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._cache = PromptCache()
        self._batches: defaultdict[str, Batches] = defaultdict(Batches)
        """By organization, as the files are."""
        self._files: defaultdict[str, Files] = defaultdict(Files)

    def answer(self, call: Call) -> Reply | Stream:
        """Raises ApiError."""
        if len(call.body) > _size_limit(call.path):
            raise ApiError(413)
        methods = []
        for method, pattern, endpoint in ROUTES:
            if match := re.fullmatch(pattern, call.path):
                if method == call.method:
                    return endpoint(self, call, *match.groups())
                methods.append(method)
        raise ApiError(405, "Method Not Allowed") if methods else ApiError(404)

    def hello(self, call: Call) -> Reply:
        return Reply(200, encode({"content-length": "0"}), b"")

    def create_message(self, call: Call) -> Reply | Stream:
        asked = self._read(call)
        answer = self._compose(asked, call)
        return Stream(streams.events(answer)) if asked.stream else json_reply(answer.whole())

    def count_tokens(self, call: Call) -> Reply:
        asked = self._read(call, counting=True)
        counted = PromptCache().count(asked.body, call.caller.organization)
        return json_reply({"input_tokens": counted.fresh + counted.read + counted.written})

    def list_models(self, call: Call) -> Reply:
        return json_reply(page(catalogue.models(), call.query))

    def retrieve_model(self, call: Call, name: str) -> Reply:
        return json_reply(catalogue.model(name))

    def create_batch(self, call: Call) -> Reply:
        base_url = f"http://{call.headers.get('host', '')}"
        return json_reply(
            self._batches[call.caller.organization].create(self._ids.new("msgbatch_"), base_url, prompt.load(call.body))
        )

    def list_batches(self, call: Call) -> Reply:
        return json_reply(page(self._batches[call.caller.organization].list(), call.query))

    def retrieve_batch(self, call: Call, id: str) -> Reply:
        return json_reply(self._batches[call.caller.organization].retrieve(id))

    def cancel_batch(self, call: Call, id: str) -> Reply:
        return json_reply(self._batches[call.caller.organization].cancel(id))

    def delete_batch(self, call: Call, id: str) -> Reply:
        return json_reply(self._batches[call.caller.organization].delete(id))

    def batch_results(self, call: Call, id: str) -> Reply:
        def message(params: Json) -> Json:
            return self._compose(prompt.read(params), call).whole()

        return Reply(
            200,
            encode({"content-type": "application/binary"}),
            self._batches[call.caller.organization].results(id, message),
        )

    def upload_file(self, call: Call) -> Reply:
        content_type = call.headers.get("content-type", "")
        return json_reply(self._files[call.caller.organization].upload(self._ids.new("file_"), content_type, call.body))

    def list_files(self, call: Call) -> Reply:
        return json_reply(page(self._files[call.caller.organization].list(), call.query))

    def retrieve_file(self, call: Call, id: str) -> Reply:
        return json_reply(self._files[call.caller.organization].find(id).info())

    def download_file(self, call: Call, id: str) -> Reply:
        file = self._files[call.caller.organization].find(id)
        disposition = f'attachment; filename="{file.name}"'
        headers = encode({"content-type": file.mime_type, "content-disposition": disposition})
        return Reply(200, headers, file.content)

    def delete_file(self, call: Call, id: str) -> Reply:
        return json_reply(self._files[call.caller.organization].delete(id))

    def _read(self, call: Call, *, counting: bool = False) -> prompt.Prompt:
        body = prompt.load(call.body)
        versions.check_body(call.headers["anthropic-version"], body)
        return prompt.read(body, counting=counting)

    def _compose(self, asked: prompt.Prompt, call: Call) -> Answer:
        counted = self._cache.count(asked.body, call.caller.organization)
        return compose(asked, call.script, counted, self._ids)


# Only where a batch may hold as much does the API take more than a message's 32 MB.
def _size_limit(path: str) -> int:
    if path.startswith("/v1/files"):
        return 500 * MIB
    return 256 * MIB if path.startswith("/v1/messages/batches") else 32 * MIB


ID = "([^/]+)"
ROUTES: tuple[tuple[str, str, Callable[..., Reply | Stream]], ...] = (
    ("HEAD", "/", Api.hello),
    ("HEAD", "/api/hello", Api.hello),
    ("POST", "/v1/messages", Api.create_message),
    ("POST", "/v1/messages/count_tokens", Api.count_tokens),
    ("GET", "/v1/models", Api.list_models),
    ("GET", f"/v1/models/{ID}", Api.retrieve_model),
    ("POST", "/v1/messages/batches", Api.create_batch),
    ("GET", "/v1/messages/batches", Api.list_batches),
    ("GET", f"/v1/messages/batches/{ID}", Api.retrieve_batch),
    ("DELETE", f"/v1/messages/batches/{ID}", Api.delete_batch),
    ("POST", f"/v1/messages/batches/{ID}/cancel", Api.cancel_batch),
    ("GET", f"/v1/messages/batches/{ID}/results", Api.batch_results),
    ("POST", "/v1/files", Api.upload_file),
    ("GET", "/v1/files", Api.list_files),
    ("GET", f"/v1/files/{ID}", Api.retrieve_file),
    ("DELETE", f"/v1/files/{ID}", Api.delete_file),
    ("GET", f"/v1/files/{ID}/content", Api.download_file),
)
