"""The client's side of one request: its body, and whether it is still there. The only reader of ASGI's `receive`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from proxy.errors import BodyTooLarge, BodyTooSlow, ClientGone, ProxyError
from proxy.patience import Patience

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Intake:
    """Reads the body under a size limit and a limit on pauses. Once the body is whole, a client that leaves cancels
    the task that serves it, at once; `left` then tells that cancellation from any other.

    To be made within the task that serves the request.
    """

    def __init__(self, receive: Receive, pause_seconds: float) -> None:
        self.patience = Patience()
        self._receive = receive
        self._pause_seconds = pause_seconds
        self._serving = asyncio.current_task()
        self._watch: asyncio.Task[None] | None = None
        self.left = False
        self.error: ProxyError | None = None
        """What stopped the body, where somebody else than the serving task read it."""
        self.received_bytes = 0

    async def read(self, max_bytes: int, declared_bytes: int | None) -> bytes:
        """The whole body. Raises BodyTooLarge, BodyTooSlow, ClientGone."""
        self._check_size(declared_bytes or 0, max_bytes)
        chunks: list[bytes] = []
        more = True
        while more:
            chunk, more = await self._next(self.patience)
            self._check_size(self.received_bytes, max_bytes)
            chunks.append(chunk)
        self._watch = asyncio.create_task(self._watch_for_leaving())
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def stream(self, max_bytes: int, declared_bytes: int | None) -> AsyncIterator[bytes]:
        """The body as it arrives, to be read by any task. Raises what `read` raises."""
        self._check_size(declared_bytes or 0, max_bytes)
        patience = Patience()
        more = True
        try:
            while more:
                chunk, more = await self._next(patience)
                self._check_size(self.received_bytes, max_bytes)
                if chunk:
                    yield chunk
        finally:
            patience.close()
        self._watch = asyncio.create_task(self._watch_for_leaving())

    async def discard(self, max_bytes: int, max_seconds: float) -> None:
        """Reads what is left of a refused body and throws it away: a client that is still sending when the
        connection closes would lose the answer that is already on its way."""
        if self._watch is not None:
            return  # nothing is left
        end = self.received_bytes + max_bytes
        with contextlib.suppress(TimeoutError, ProxyError, ClientGone):
            async with asyncio.timeout(max_seconds):
                more = True
                while more and self.received_bytes < end:
                    _, more = await self._next(self.patience)

    async def aclose(self) -> None:
        self.patience.close()
        if self._watch is None or self._watch.done():
            return
        self._watch.cancel()
        try:
            await self._watch
        except asyncio.CancelledError:
            if not self._watch.done():
                raise  # it is this task that is being cancelled

    async def _next(self, patience: Patience) -> tuple[bytes, bool]:
        try:
            message = await patience.limit(self._pause_seconds, self._receive())
        except TimeoutError:
            pause = f"{self._pause_seconds:g} seconds"
            raise self._failed(
                BodyTooSlow(f"The request body stopped for more than {pause} before it was complete.")
            ) from None
        if message["type"] == "http.disconnect":
            self._leave()
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        self.received_bytes += len(chunk)
        return chunk, message.get("more_body", False)

    def _check_size(self, size_bytes: int, max_bytes: int) -> None:
        if size_bytes > max_bytes:
            text = f"The request body is larger than {max_bytes:,} bytes. Send less, or use the Files API."
            raise self._failed(BodyTooLarge(text))

    def _failed(self, error: ProxyError) -> ProxyError:
        self.error = error
        return error

    async def _watch_for_leaving(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        self.left = True
        if self._serving is not None and self._serving is not asyncio.current_task():
            self._serving.cancel()
