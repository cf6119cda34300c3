import logging

import pytest
from django.db import connection

from accounts.models import ClientKey, Credential, Domain, Installation
from accounts.register import Register, load
from tests.conftest import FAKE_API_KEY

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_holds_what_the_tables_hold(issued: tuple[ClientKey, str], credential: Credential, domain: Domain) -> None:
    spare = Credential.objects.create(domain=domain, name="spare", secret="sk-ant-oat01-fake-spare-02", kind="bearer")
    Credential.objects.create(domain=domain, name="off", secret="sk-ant-api03-fake-off-0003", is_active=False)
    Credential.objects.filter(id=spare.id).update(priority=7)
    snapshot = load()
    assert snapshot.domains["claude.example.com"].id == domain.id
    assert [(each.name, each.is_bearer) for each in snapshot.credentials[domain.id]] == [
        ("main", False),
        ("spare", True),
    ]
    assert snapshot.credentials[domain.id][0].secret == FAKE_API_KEY
    for secret in (FAKE_API_KEY, issued[0].digest, snapshot.pepper):
        assert secret not in repr(snapshot)


def changes() -> "dict[str, object]":
    return {
        "create": lambda domain: ClientKey.issue(domain, "new"),
        "save": lambda domain: domain.save(),
        "delete": lambda domain: domain.delete(),
        "update": lambda domain: Domain.objects.filter(id=domain.id).update(is_active=False),
        "bulk": lambda domain: Domain.objects.bulk_create([Domain(host="bulk.example.com")]),
        "delete many": lambda domain: Domain.objects.all().delete(),
    }


@pytest.mark.parametrize("change", changes())
def test_every_change_raises_the_generation(domain: Domain, change: str) -> None:
    before = load().generation
    changes()[change](domain)  # type: ignore[operator]
    assert Installation.current().generation > before


@pytest.mark.anyio
async def test_it_takes_up_a_change_and_only_a_change(domain: Domain) -> None:
    register = Register()
    await register.start()
    first = register.snapshot
    await register.refresh()
    assert register.snapshot is first
    await Domain.objects.acreate(host="late.example.com")
    await register.refresh()
    assert "late.example.com" in register.snapshot.domains


@pytest.mark.anyio
async def test_the_last_snapshot_stays_while_the_register_cannot_be_read(
    domain: Domain, caplog: pytest.LogCaptureFixture
) -> None:
    register = Register()
    await register.start()
    first = register.snapshot
    await _rename("accounts_installation", "hidden")
    try:
        await register.refresh()
        await register.refresh()
    finally:
        await _rename("hidden", "accounts_installation")
    assert register.snapshot is first
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    await register.refresh()
    assert "can be read again" in caplog.text


async def _rename(table: str, to: str) -> None:
    from asgiref.sync import sync_to_async

    def rename() -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} RENAME TO {to}")

    await sync_to_async(rename)()


def test_one_unreadable_credential_leaves_the_others(credential: Credential, caplog: pytest.LogCaptureFixture) -> None:
    other = Domain.objects.create(host="third.example.com")
    good = Credential.objects.create(domain=other, name="good", secret="sk-ant-api03-fake-good-0004")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_credential SET secret = 'v1:broken' WHERE name = 'main'")
    snapshot = load()
    assert [each.id for each in snapshot.credentials[other.id]] == [good.id]
    assert snapshot.credentials[credential.domain_id] == ()
    assert "main" in caplog.text
