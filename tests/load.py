"""A bounded load from clients that behave: what they asked, what came, and what did not."""

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx

MESSAGES = "/v1/messages"


@dataclass
class Heard:
    """Of all clients together."""

    heads: list[UUID] = field(default_factory=list)
    """Ids of the exchanges that an answer named."""
    whole: int = 0
    failures: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0
    """Of an answer's head."""

    @property
    def kinds_of_failures(self) -> Counter[str]:
        return Counter(failure.split(" ")[0] for failure in self.failures)


def body_of(prompt: str, *, stream: bool) -> dict[str, Any]:
    message = {"role": "user", "content": prompt}
    return {"model": "claude-haiku-4-5", "max_tokens": 64, "stream": stream, "messages": [message]}


class Load:
    """So many clients in a thread of their own, each one request after the other, a pause between them; no retries:
    each failure is counted."""

    def __init__(self, url: str, key: str, clients: int = 8, pause_seconds: float = 0.05) -> None:
        self._url, self._key = url, key
        self._clients, self._pause_seconds = clients, pause_seconds
        self._is_over = threading.Event()
        self.heard = Heard()

    @contextlib.contextmanager
    def running(self) -> Iterator[Heard]:
        thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")
        thread.start()
        try:
            yield self.heard
        finally:
            self._is_over.set()
            thread.join(120)
            assert not thread.is_alive(), "a client still waits"

    async def _run(self) -> None:
        headers = {"x-api-key": self._key, "anthropic-version": "2023-06-01"}
        async with (
            httpx.AsyncClient(base_url=self._url, headers=headers, timeout=60, trust_env=False) as client,
            asyncio.TaskGroup() as group,
        ):
            for number in range(self._clients):
                group.create_task(self._one_after_the_other(client, number))

    async def _one_after_the_other(self, client: httpx.AsyncClient, number: int) -> None:
        for turn in range(100_000):
            if self._is_over.is_set():
                return
            stream = (turn + number) % 2 == 0
            prompt = "[[standin deltas=10 delay_ms=50]]" if stream else "Hello"
            await self._ask(client, prompt, stream=stream)
            await asyncio.sleep(self._pause_seconds)

    async def _ask(self, client: httpx.AsyncClient, prompt: str, *, stream: bool) -> None:
        heard, started = self.heard, time.monotonic()
        try:
            async with client.stream("POST", MESSAGES, json=body_of(prompt, stream=stream)) as answer:
                heard.slowest_seconds = max(heard.slowest_seconds, time.monotonic() - started)
                if (name := answer.headers.get("x-nexus-request-id")) is not None:
                    heard.heads.append(UUID(name))
                text = (await answer.aread()).decode(errors="replace")
        except httpx.TransportError as error:
            heard.failures.append(f"{type(error).__name__} after {time.monotonic() - started:.1f} s")
            return
        if answer.status_code != 200:
            heard.failures.append(f"{answer.status_code} {text[:200]}")
        elif stream and "message_stop" not in text:
            heard.failures.append(f"cut {text[-200:]}")
        else:
            heard.whole += 1
