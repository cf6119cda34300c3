"""The cast. Everybody belongs to the domain claude.example.com; the other domain is a stranger's."""

import pytest

from accounts.models import ClientKey, Credential, Domain

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
