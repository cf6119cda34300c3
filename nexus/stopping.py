"""How a process that serves is told to stop. The first signal: it is not ready any more, for the notice's seconds it
still takes what comes, then connections are refused and uvicorn drains. The second signal ends it at once."""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import threading
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from telemetry import draining

logger = logging.getLogger(__name__)
JOIN_SECONDS = 0.1
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopping:
    """In the place of uvicorn's own handlers, which know no notice, end at once only on a second SIGINT, and raise the
    signal again in the end: that would kill a worker before its spool is written."""

    def __init__(self, server: uvicorn.Server, notice_seconds: float) -> None:
        self._server = server
        self._notice_seconds = notice_seconds
        self._loop = asyncio.get_running_loop()

    def __call__(self, number: int, frame: Any) -> None:
        if draining.is_on():
            self._server.should_exit = self._server.force_exit = True
            return
        draining.begin()
        logger.info("stopping: %s", signal.Signals(number).name)
        self._loop.call_soon_threadsafe(self._loop.call_later, self._notice_seconds, self._stop)

    def _stop(self) -> None:
        self._take_last()
        self._server.should_exit = True

    def _take_last(self) -> None:
        """Who is connected and waits to be accepted would be reset when the listener closes, with a request that nobody
        dares to send again: so they are accepted first. Then it closes at once, and whoever is later is refused."""
        for server in self._server.servers:
            for listener in server.sockets:
                with socket.socket(fileno=os.dup(listener.fileno())) as own:
                    own.setblocking(False)
                    self._accept_all(own)
            server.close()

    def _accept_all(self, listener: socket.socket) -> None:
        for _ in range(self._server.config.backlog):
            try:
                accepted, _address = listener.accept()
            except OSError:
                return
            task = self._loop.create_task(self._serve(accepted))
            self._server.server_state.tasks.add(task)
            task.add_done_callback(self._server.server_state.tasks.discard)

    async def _serve(self, accepted: socket.socket) -> None:
        await self._loop.connect_accepted_socket(self._protocol, accepted)

    def _protocol(self) -> asyncio.Protocol:
        config = self._server.config
        state = self._server.lifespan.state
        made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
            config=config, server_state=self._server.server_state, app_state=state
        )
        return made


def listen_for_signals(notice_seconds: float) -> None:
    """In the event loop of a process that uvicorn serves in; elsewhere nothing happens."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        handler = signal.getsignal(number)
        server = getattr(handler, "__self__", None)
        if isinstance(server, uvicorn.Server):
            signal.signal(number, Stopping(server, notice_seconds))
    _stop_with_parent()


def _stop_with_parent() -> None:
    """A worker whose parent was killed would hold the port for ever, with nobody to tell it to stop."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        logger.error("the parent process is gone: this worker stops too")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


class Workers(Multiprocess):
    """uvicorn's supervisor, which would keep the port open while nobody accepts, and hear no second signal."""

    def terminate_all(self) -> None:
        for listener in self.sockets:
            listener.close()
        super().terminate_all()

    def join_all(self) -> None:
        for process in self.processes:
            while process.exitcode is None:
                process.process.join(JOIN_SECONDS)
                self._pass_on()

    def _pass_on(self) -> None:
        """A signal that came since they were told to stop."""
        while self.signal_queue:
            number = self.signal_queue.pop()
            for process in self.processes:
                if number in SIGNALS and process.exitcode is None and process.pid is not None:
                    os.kill(process.pid, number)
