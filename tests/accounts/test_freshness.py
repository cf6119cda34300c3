"""The register stays fresh through whatever happens to the database: a process that stopped asking would go on
accepting revoked keys."""

import asyncio

import pytest
from django.db.models import QuerySet

from accounts.models import ClientKey, Installation
from accounts.register import Register

pytestmark = pytest.mark.django_db(transaction=True)


def started() -> Register:
    register = Register()
    asyncio.run(register.start())
    return register


def test_a_revoked_key_is_seen(issued: tuple[ClientKey, str]) -> None:
    key, _ = issued
    register = started()
    key.revoke()
    asyncio.run(register.refresh())
    ((facts,),) = register.snapshot.keys_by_prefix.values()
    assert facts.revoked_at is not None


def test_the_last_snapshot_stays_while_the_tables_are_empty(issued: tuple[ClientKey, str]) -> None:
    """As they are for a moment when a backup is restored below a running Nexus."""
    register = started()
    before = register.snapshot
    QuerySet(Installation).all().delete()
    asyncio.run(register.refresh())
    assert register.snapshot is before
