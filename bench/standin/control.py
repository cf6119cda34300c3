"""The stand-in's own pages, for tests in another process: its record, its counts, its reset."""

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from bench.asgi import Scope, Send

if TYPE_CHECKING:
    from bench.standin.app import Standin

PREFIX = "/_standin/"


async def answer(standin: "Standin", scope: Scope, send: Send) -> None:
    status, data = _page(standin, scope)
    body = json.dumps(data).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _page(standin: "Standin", scope: Scope) -> tuple[int, Any]:
    match scope["method"], scope["path"].removeprefix(PREFIX):
        case "GET", "exchanges":
            after = int(parse_qs(scope["query_string"].decode()).get("after", ["0"])[0])
            return 200, [each.as_json() for each in standin.recorder.exchanges if each.number > after]
        case "GET", "stats":
            return 200, standin.recorder.stats()
        case "POST", "reset":
            standin.reset()
            return 200, {}
        case _:
            return 404, {"error": "exchanges, stats or reset"}
