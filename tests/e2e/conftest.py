"""One stand-in for the Claude API and one Nexus in front of it, for all tests that do not need their own."""

from collections.abc import Iterator

import pytest

from bench.standin import Standin, serve_in_thread
from tests.served import Served, serve


@pytest.fixture(scope="session")
def standin() -> Iterator[Standin]:
    with serve_in_thread() as served:
        yield served


@pytest.fixture(scope="session")
def nexus(standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("nexus"), standin.url) as served:
        yield served
