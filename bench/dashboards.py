"""`python -m bench.dashboards`: what open dashboards cost the proxy.

Measures requests through Nexus with and without so many open windows, in turn, and prints the medians. Each window has
a socket that listens, and asks for the page's part as often as a browser does; all are of one person who sees all.
"""

import argparse
import asyncio
import os
import secrets
import statistics
import sys
import tempfile
from pathlib import Path

import httpx
from websockets.asyncio.client import ClientConnection, connect

from bench import load, processes
from bench.measures import prompt
from bench.processes import Server

REFRESH_SECONDS = 120
"""As static/dashboard/live.js does."""
SIGNED_OUT = "the dashboard's key did not open a session"


def main() -> None:
    options = _options()
    os.environ["DASHBOARD_API_KEY"] = key = secrets.token_urlsafe(16)
    for name in ("DATABASE_URL", "REDIS_URL"):
        os.environ.pop(name, None)
    load_core, server_core = processes.cores()
    processes.pin(load_core)
    processes.allow_many_connections()
    try:
        with (
            tempfile.TemporaryDirectory() as directory,
            processes.standin() as upstream,
            processes.nexus(upstream, server_core, Path(directory)) as server,
        ):
            asyncio.run(_measure(server, key, options))
    except processes.NotReady as problem:
        sys.exit(f"bench: {problem}")


async def _measure(server: Server, key: str, options: argparse.Namespace) -> None:
    cookie = _session(server.url, key)
    rates: dict[str, list[float]] = {"without": [], "with": []}
    await load.run(prompt(server, 4), seconds=1)
    for number in range(options.rounds):
        rates["without"].append(await _rate(server, options.seconds))
        async with Windows(server.url, cookie, options.windows) as windows:
            rates["with"].append(await _rate(server, options.seconds))
        print(f"{number + 1}: {rates['without'][-1]:.0f} without, {rates['with'][-1]:.0f} with", file=sys.stderr)
        if not windows.heard:
            sys.exit("bench: no window heard anything; the figures do not count")
    without, with_ = (statistics.median(rates[name]) for name in ("without", "with"))
    print(f"JSON requests a second without windows: {without:.0f}")
    print(f"JSON requests a second with {options.windows} windows: {with_:.0f} ({with_ / without - 1:+.1%})")


async def _rate(server: Server, seconds: float) -> float:
    result = await load.run(prompt(server, 4), connections=32, seconds=seconds)
    if result.errors:
        sys.exit("bench: not every request succeeded; the figures do not count")
    return result.rate


def _session(url: str, key: str) -> str:
    with httpx.Client(base_url=url, trust_env=False) as client:
        client.get("/dashboard/login")
        token = client.cookies["csrftoken"]
        client.post("/dashboard/login", data={"key": key, "csrfmiddlewaretoken": token})
        if "sessionid" not in client.cookies:
            sys.exit(f"bench: {SIGNED_OUT}")
        return f"sessionid={client.cookies['sessionid']}"


class Windows:
    def __init__(self, url: str, cookie: str, count: int) -> None:
        self._url = url
        self._cookie = cookie
        self._count = count
        self._sockets: list[ClientConnection] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.heard = 0

    async def __aenter__(self) -> "Windows":
        address = self._url.replace("http", "ws", 1) + "/dashboard/live"
        headers = {"Cookie": self._cookie, "Origin": self._url}
        for _ in range(self._count):
            self._sockets.append(await connect(address, additional_headers=headers, compression=None, proxy=None))
        self._tasks = [asyncio.create_task(self._listen(socket)) for socket in self._sockets]
        self._tasks.append(asyncio.create_task(self._refresh()))
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(socket.close() for socket in self._sockets))

    async def _listen(self, socket: ClientConnection) -> None:
        async for _ in socket:
            self.heard += 1

    async def _refresh(self) -> None:
        """One request of some window after the other, evenly spread."""
        headers = {"Cookie": self._cookie, "HX-Request": "true"}
        async with httpx.AsyncClient(base_url=self._url, headers=headers, trust_env=False, timeout=30) as client:
            while True:
                await asyncio.sleep(REFRESH_SECONDS / self._count)
                (await client.get("/dashboard/")).raise_for_status()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.dashboards", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--windows", type=int, default=200, help="open dashboards (200)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements with and without, in turn (5)")
    parser.add_argument("--seconds", type=float, default=6, help="of each (6)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
