"""One cluster for all tests of this folder, which run only where they are asked for (`make cluster-test`)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.standin import Standin, serve_in_thread
from tests.cluster.cluster import Cluster, cluster
from tests.cluster.report import Report
from tests.oauthserver import CLIENT_ID, OAuthServer, oauth_server

REPORT = Path(__file__).parents[2] / "docs" / "reliability.md"


@pytest.fixture(scope="session")
def standin() -> Iterator[Standin]:
    with serve_in_thread() as served:
        yield served


@pytest.fixture(scope="session")
def oauth() -> Iterator[OAuthServer]:
    with oauth_server() as served:
        yield served


@pytest.fixture(scope="session")
def made(standin: Standin, oauth: OAuthServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    token_url = f"{oauth.url}/token"
    with cluster(
        tmp_path_factory.mktemp("cluster"),
        standin.url,
        CLAUDE_OAUTH_TOKEN_URL=token_url,
        CLAUDE_OAUTH_CLIENT_ID=CLIENT_ID,
    ) as running:
        yield running


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Iterator[Report]:
    """Written when all is over, and only if nothing failed."""
    found = Report()
    yield found
    if not request.session.testsfailed and found.is_whole:
        found.write(REPORT)
