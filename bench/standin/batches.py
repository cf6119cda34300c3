"""Message batches. A batch has ended the first time that anybody looks at it again. A request's prompt may direct how
that request ends: `status=400` as an error, `result=expired` or `result=canceled` unanswered."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from bench.asgi import Json
from bench.standin import prompt, script
from bench.standin.errors import ApiError

CREATED, EXPIRES = "2026-11-01T09:00:00.000000+00:00", "2026-11-02T09:00:00.000000+00:00"
ENDED = "2026-11-01T09:05:00.000000+00:00"


@dataclass(slots=True)
class Batch:
    id: str
    results_url: str
    requests: list[Json]
    status: str = "in_progress"
    cancelled: bool = False

    def ends(self, request: Json) -> str:
        """The type of a request's result."""
        if self.cancelled:
            return "canceled"
        wanted = _script(request)
        return wanted.result or ("errored" if wanted.status else "succeeded")

    def info(self) -> Json:
        ended = self.status == "ended"
        ends = Counter(map(self.ends, self.requests) if ended else ())
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": self.status,
            "request_counts": {
                "processing": 0 if ended else len(self.requests),
                **{kind: ends[kind] for kind in ("succeeded", "errored", "canceled", "expired")},
            },
            "created_at": CREATED,
            "expires_at": EXPIRES,
            "ended_at": ENDED if ended else None,
            "archived_at": None,
            "cancel_initiated_at": CREATED if self.cancelled else None,
            "results_url": self.results_url if ended else None,
        }


class Batches:
    def __init__(self) -> None:
        self._batches: dict[str, Batch] = {}

    def create(self, id: str, base_url: str, body: Json) -> Json:
        requests = body.get("requests")
        if not requests:
            raise ApiError(400, "requests: at least one request is required")
        batch = self._batches[id] = Batch(id, f"{base_url}/v1/messages/batches/{id}/results", requests)
        return batch.info()

    def list(self) -> list[Json]:
        """Newest first."""
        return [batch.info() for batch in reversed(self._batches.values())]

    def retrieve(self, id: str) -> Json:
        batch = self._find(id)
        batch.status = "ended"
        return batch.info()

    def cancel(self, id: str) -> Json:
        batch = self._find(id)
        if batch.status == "in_progress":
            batch.status, batch.cancelled = "canceling", True
        return batch.info()

    def delete(self, id: str) -> Json:
        if self._find(id).status != "ended":
            raise ApiError(400, f"Cannot delete message batch {id} while it is in progress")
        del self._batches[id]
        return {"id": id, "type": "message_batch_deleted"}

    def results(self, id: str, answer: Callable[[Json], Json]) -> bytes:
        """JSONL; *answer* composes the message for one request's params."""
        batch = self._find(id)
        if batch.status != "ended":
            raise ApiError(404, f"Batch {id} has no available results.")
        lines = []
        for request in batch.requests:
            result = _result(batch.ends(request), request, answer)
            lines.append(json.dumps({"custom_id": request["custom_id"], "result": result}) + "\n")
        return "".join(lines).encode()

    def _find(self, id: str) -> Batch:
        if id not in self._batches:
            raise ApiError(404, f"Message batch {id} not found")
        return self._batches[id]


def _script(request: Json) -> script.Script:
    """What is wrong with a request shows as its result only."""
    try:
        return script.read(None, prompt.read(request["params"], counting=True).text)
    except ApiError as problem:
        return script.Script(status=problem.status)


def _result(kind: str, request: Json, answer: Callable[[Json], Json]) -> Json:
    if kind == "succeeded":
        message = answer(request["params"])
        return {"type": kind, "message": message | {"usage": message["usage"] | {"service_tier": "batch"}}}
    if kind == "errored":
        return {"type": kind, "error": ApiError(_script(request).status or 500).envelope("req_of_the_batch")}
    return {"type": kind}
