"""A stand-in for the Claude API, faithful on the wire: for tests, for the bench, and for `nexus demo`."""

from collections.abc import Iterator
from contextlib import contextmanager

from bench import serving
from bench.standin.app import Standin
from bench.standin.recorder import Exchange, Recorder

__all__ = ["Exchange", "Recorder", "Standin", "serve_in_thread"]


@contextmanager
def serve_in_thread(standin: Standin | None = None, port: int = 0) -> Iterator[Standin]:
    """A stand-in on a loopback port, at `standin.url`, while the block lasts."""
    standin = standin or Standin()
    with serving.in_thread(standin, port) as standin.url:
        yield standin
