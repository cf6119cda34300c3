"""A trickle of realistic traffic for `nexus demo`: a few people and programs, a request every second or two."""

import json
import random
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

MODELS = ("claude-haiku-4-5", "claude-sonnet-5", "claude-opus-5")
PROMPTS = (
    "Summarise the release notes in three points.",
    "Why does this query do a sequential scan?",
    "Write a test for the retry logic.",
    "Translate the error message into German.",
    "Name three ways to make this function shorter.",
)
TOOL = {
    "name": "read_file",
    "description": "Reads a file of the project.",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}
PAUSE_SECONDS = (0.4, 2.0)
START_TIMEOUT_SECONDS = 30


class Trickle:
    """Sends one request after the other until it is told to stop. Failures are part of the show."""

    def __init__(self, url: str, key: str, seed: int = 1) -> None:
        self._client = httpx.Client(base_url=url, headers=_headers(key), timeout=30, trust_env=False)
        self._random = random.Random(seed)
        self._stopping = threading.Event()
        self._session = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        self._history: list[dict[str, Any]] = []

    def run(self) -> None:
        with self._client:
            self._wait_for_start()
            while not self._stopping.wait(self._random.uniform(*PAUSE_SECONDS)):
                try:
                    self._one()
                except httpx.HTTPError:
                    continue  # a broken stream or a stopping server: both belong here

    def stop(self) -> None:
        self._stopping.set()

    def _wait_for_start(self) -> None:
        for _ in range(START_TIMEOUT_SECONDS * 5):
            try:
                self._client.get("/")
                return
            except httpx.TransportError:
                if self._stopping.wait(0.2):
                    return

    def _one(self) -> None:
        kinds: list[tuple[Callable[[], None], int]] = [
            (self._converse, 8),
            (self._ask_plainly, 4),
            (self._count, 2),
            (self._use_tool, 3),
            (self._think, 2),
            (self._leave_early, 1),
            (self._meet_trouble, 2),
        ]
        self._random.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]()

    def _converse(self) -> None:
        """A growing conversation of one session, streamed, as an agent holds it."""
        if len(self._history) > 20:
            self._history.clear()
            self._session = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        self._history.append({"role": "user", "content": self._prompt()})
        self._stream(self._body(self._history, stream=True, system=[_text("You are an agent."), _text("Be brief.")]))
        self._history.append({"role": "assistant", "content": "Done."})

    def _ask_plainly(self) -> None:
        self._post("/v1/messages", self._body([_user(self._prompt())]))

    def _count(self) -> None:
        body = self._body([_user(self._prompt())])
        del body["max_tokens"]
        self._post("/v1/messages/count_tokens", body)

    def _use_tool(self) -> None:
        self._post("/v1/messages", self._body([_user("Read the settings.")], tools=[TOOL]))

    def _think(self) -> None:
        thinking = {"type": "enabled", "budget_tokens": 1024}
        self._stream(self._body([_user(self._prompt())], stream=True, thinking=thinking, max_tokens=4096))

    def _leave_early(self) -> None:
        body = self._body([_user("Tell a long story. [[standin deltas=200 delay_ms=20]]")], stream=True)
        with self._client.stream("POST", "/v1/messages", json=body) as answer:
            next(answer.iter_raw(), b"")

    def _meet_trouble(self) -> None:
        trouble = self._random.choice(("status=529", "status=429", "status=500", "error_at=3", "die_at=5"))
        body = self._body([_user(f"Do something hard. [[standin {trouble}]]")], stream=True)
        self._stream(body)

    def _post(self, path: str, body: dict[str, Any]) -> None:
        self._client.post(path, json=body)

    def _stream(self, body: dict[str, Any]) -> None:
        headers = {"x-claude-code-session-id": self._session}
        with self._client.stream("POST", "/v1/messages", content=json.dumps(body), headers=headers) as answer:
            for _ in answer.iter_raw():
                pass

    def _body(self, messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {"model": self._random.choice(MODELS), "max_tokens": 512, "messages": messages, **more}

    def _prompt(self) -> str:
        return self._random.choice(PROMPTS)


@contextmanager
def trickle(url: str, key: str) -> Iterator[None]:
    """Traffic in a thread while the block runs."""
    traffic = Trickle(url, key)
    thread = threading.Thread(target=traffic.run, name="demo-traffic", daemon=True)
    thread.start()
    try:
        yield
    finally:
        traffic.stop()
        thread.join(1)


def _headers(key: str) -> dict[str, str]:
    return {"x-api-key": key, "anthropic-version": "2023-06-01", "content-type": "application/json"}


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
