"""The cast. Everybody belongs to the domain claude.example.com; the other domain is a stranger's."""

from collections.abc import Iterator

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from accounts.models import ClientKey, Credential, Domain
from tests.services import RedisServer

POOLED = {"owner": "Grace", "weight": "1", "traffic_percent": "5"}
"""What the form of a credential asks besides."""
FAKE_API_KEY = "sk-ant-api03-fake-credential-0001"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def domain(db: None) -> Domain:
    return Domain.objects.create(host="claude.example.com")


@pytest.fixture
def other_domain(db: None) -> Domain:
    return Domain.objects.create(host="other.example.com")


@pytest.fixture
def issued(domain: Domain) -> tuple[ClientKey, str]:
    """A client key and its secret."""
    return ClientKey.issue(domain, "Ada's laptop")


@pytest.fixture
def credential(domain: Domain) -> Credential:
    return Credential.objects.create(domain=domain, name="main", secret=FAKE_API_KEY)


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Of one test, which may stop it."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Threads of async tests leave connections behind: PostgreSQL would not drop the test database under them."""
    yield
    if connection.vendor != "postgresql":
        return
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
