"""What stands where the Claude API would: the stand-in, and one that answers what it is told to."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from pytest_django import Settings

from bench.asgi import Receive, Scope, Send
from bench.serving import in_thread
from bench.standin import Standin, serve_in_thread

Answering = Callable[..., None]


@pytest.fixture(scope="session")
def served_standin() -> Iterator[Standin]:
    with serve_in_thread() as standin:
        yield standin


@pytest.fixture
def standin(served_standin: Standin, settings: Settings) -> Standin:
    served_standin.reset()
    settings.UPSTREAM = replace(settings.UPSTREAM, base_url=served_standin.url)
    return served_standin


@pytest.fixture
def answering(settings: Settings) -> Iterator[Answering]:
    """Tells the API what to answer to everything from now on."""
    said: list[tuple[int, bytes, list[tuple[bytes, bytes]]]] = [(200, b"", [])]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        status, body, headers = said[-1]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def answer(status: int, body: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None) -> None:
        said.append((status, body, headers or []))

    with in_thread(app) as url:
        settings.UPSTREAM = replace(settings.UPSTREAM, base_url=url)
        yield answer
